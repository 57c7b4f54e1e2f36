"""The circuit breaker: after five failed attempts in a row a system is left alone for a minute, and then tried once.

Every step is one conditional UPDATE of one row, so that of many processes at the same moment exactly one opens, tries or
closes (Michael Nygard, Release It!, "Circuit Breaker").
"""

from __future__ import annotations

import datetime
import uuid
from enum import StrEnum
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

import audit
from integrations.models import Breaker, Connection
from integrations.models.breaker import COOL_DOWN, FAILURES_TO_OPEN, BreakerState, Hold
from integrations.transports.errors import ErrorClass, NotAdmitted
from integrations.transports.messages import Attempt, Purpose

log = structlog.get_logger(__name__)
# What an operation may take before it counts as failed; a pull of many records may take its time.
SLOW_MS: Final[dict[Purpose, int | None]] = {Purpose.DO: 1000, Purpose.PULL: None}
# A probe whose process died is given up this long after its own bound.
PROBE_MARGIN: Final = datetime.timedelta(seconds=10)
_NO_PROBE: Final[dict[str, Any]] = {"probe": "", "probe_ends_at": None}


class Shows(StrEnum):
    """What an attempt shows of the other system."""

    UP = "up"
    DOWN = "down"
    NOTHING = "nothing"


# A system that says no is up: it is not spared by being left alone.
_SHOWN_BY_ERROR: Final = {
    ErrorClass.RETRY: Shows.DOWN,
    ErrorClass.THROTTLE: Shows.UP,
    ErrorClass.REFRESH_TOKEN: Shows.UP,
    ErrorClass.EXISTS: Shows.UP,
    ErrorClass.BLOCKED: Shows.UP,
    ErrorClass.PERMANENT: Shows.UP,
    ErrorClass.CONFIG: Shows.UP,
}


class BreakerOpen(NotAdmitted):
    """The other system is left alone for now; `until` says until when, where that is known."""

    advice = (
        "It is tried again by itself. When the other system is known to be well, an administrator may reset the circuit "
        "breaker on the connection's page."
    )

    def __init__(self, breaker: Breaker, *, is_probing: bool = False) -> None:
        self.until = breaker.tries_again_at
        why = f"{breaker.failures} attempts in a row failed" if breaker.failures else "attempts failed"
        last = f", at last because {breaker.reason}" if breaker.reason else ""
        if breaker.hold:
            what = f"it is not called: {breaker.changed_by} holds its circuit breaker open"
        elif is_probing or self.until is None:
            what = f"it is not called: {why}{last}. Another process is trying it at this moment"
        else:
            what = f"it is not called until {self.until:%H:%M:%S} UTC: {why}{last}"
        super().__init__(what, advice=_HELD_ADVICE if breaker.hold else "")


_HELD_ADVICE: Final = "An administrator lets calls through again on the connection's page (Reset)."


def check(connection: Connection) -> Breaker | None:
    """Raise BreakerOpen if no attempt may be made now. Returns the breaker if one has to be made as its probe."""
    breaker = Breaker.objects.filter(connection=connection).first()
    if breaker is None or breaker.hold == Hold.CLOSED:
        return None
    breaker.connection = connection
    if breaker.hold == Hold.OPEN:
        raise BreakerOpen(breaker)
    if breaker.state == BreakerState.CLOSED:
        return None
    is_probing = breaker.state == BreakerState.HALF_OPEN
    free_at = breaker.probe_ends_at if is_probing else breaker.tries_again_at
    if free_at is None or timezone.now() < free_at:
        raise BreakerOpen(breaker, is_probing=is_probing)
    return breaker


def admit(connection: Connection, seconds: float) -> str:
    """Let an attempt of at most `seconds` through. Returns the name of the probe that it is, "" for an ordinary one.

    Raises BreakerOpen.
    """
    breaker = check(connection)
    return _probe(breaker, seconds) if breaker else ""


def _probe(breaker: Breaker, seconds: float) -> str:
    """Become the one that tries: when the cool-down is over, or when the last probe never came back."""
    name = uuid.uuid4().hex
    ends_at = timezone.now() + datetime.timedelta(seconds=seconds) + PROBE_MARGIN
    as_seen = {"state": breaker.state, "opened_at": breaker.opened_at, "probe": breaker.probe, "hold": ""}
    became = _change(
        breaker,
        "half_opened",
        as_seen,
        reason="The cool-down is over: one attempt is let through.",
        state=BreakerState.HALF_OPEN,
        probe=name,
        probe_ends_at=ends_at,
    )
    if not became:
        raise BreakerOpen(breaker, is_probing=True)
    return name


def shown_by(attempt: Attempt, slow_ms: int | None) -> Shows:
    """What an attempt shows of the other system: `slow_ms` is where too slow begins, None for nowhere."""
    if attempt.error is not None and not attempt.error.reached_it:
        return Shows.NOTHING
    limit = slow_ms if slow_ms is not None else SLOW_MS[attempt.purpose]
    if limit is not None and attempt.seconds * 1000 > limit:
        return Shows.DOWN
    return _SHOWN_BY_ERROR[attempt.error.error_class] if attempt.error else Shows.UP


def learn(connection: Connection, probe: str, shows: Shows, reason: str = "") -> None:
    """Take in what an admitted attempt has shown."""
    if probe:
        _learn_from_probe(connection, probe, shows, reason)
    elif shows is Shows.DOWN:
        _count_failure(connection, reason)
    elif shows is Shows.UP:
        counted = Breaker.objects.filter(connection=connection, state=BreakerState.CLOSED, failures__gt=0)
        if counted.exists():  # mostly there is nothing to take back, and a look is cheaper than a write
            counted.update(failures=0, reason="", changed_at=timezone.now())


def _count_failure(connection: Connection, reason: str) -> None:
    """One more in a row; the fifth opens. Those that began before it opened and end now change nothing any more."""
    Breaker.objects.get_or_create(connection=connection)
    closed = Breaker.objects.filter(connection=connection, state=BreakerState.CLOSED)
    with transaction.atomic():
        closed.update(failures=F("failures") + 1, reason=reason[:500], changed_at=timezone.now())
        enough = closed.filter(failures__gte=FAILURES_TO_OPEN, hold="").select_related("connection").first()
        if enough is not None:
            _open(enough, {"state": BreakerState.CLOSED, "hold": ""}, reason)


def _learn_from_probe(connection: Connection, probe: str, shows: Shows, reason: str) -> None:
    breaker = Breaker.objects.select_related("connection").filter(connection=connection, probe=probe).first()
    if breaker is None:  # somebody has reset it, or took this probe for lost
        return
    ours = {"state": BreakerState.HALF_OPEN, "probe": probe}
    if shows is Shows.UP:
        _change(
            breaker,
            "closed",
            ours,
            reason="The attempt that was let through succeeded.",
            state=BreakerState.CLOSED,
            failures=0,
            opened_at=None,
            **_NO_PROBE,
        )
    elif shows is Shows.DOWN:
        _open(breaker, ours, reason)
    else:  # nothing was sent: the next one tries
        Breaker.objects.filter(pk=breaker.pk, **ours).update(
            state=BreakerState.OPEN, opened_at=timezone.now() - COOL_DOWN, **_NO_PROBE
        )


def _open(breaker: Breaker, as_seen: dict[str, Any], reason: str) -> None:
    _change(
        breaker,
        "opened",
        as_seen,
        reason=reason,
        state=BreakerState.OPEN,
        opened_at=timezone.now(),
        **_NO_PROBE,
    )


# --- by hand ------------------------------------------------------------------------------------------------


def hold_open(connection: Connection, *, reason: str) -> Breaker:
    """Let no attempt through until a person says otherwise."""
    return _override(connection, "held_open", reason, hold=Hold.OPEN)


def hold_closed(connection: Connection, *, reason: str) -> Breaker:
    """Let every attempt through, whatever they show, until a person says otherwise."""
    return _override(
        connection, "held_closed", reason, hold=Hold.CLOSED, state=BreakerState.CLOSED, opened_at=None, **_NO_PROBE
    )  # fmt: skip


def reset(connection: Connection, *, reason: str) -> Breaker:
    """Close it, forget what failed, and let it go by itself again."""
    return _override(
        connection,
        "reset",
        reason,
        hold="",
        state=BreakerState.CLOSED,
        failures=0,
        opened_at=None,
        **_NO_PROBE,
    )


def _override(connection: Connection, verb: str, reason: str, **changes: Any) -> Breaker:
    breaker, _ = Breaker.objects.get_or_create(connection=connection)
    breaker.connection = connection
    _change(breaker, verb, {}, reason=reason, **changes)
    breaker.refresh_from_db()
    return breaker


def _change(breaker: Breaker, verb: str, as_seen: dict[str, Any], *, reason: str, **changes: Any) -> bool:
    """Change the breaker if it still is as it was seen; log and audit that. Returns whether it was."""
    actor = audit.current_actor()
    with transaction.atomic():
        seen = Breaker.objects.filter(pk=breaker.pk, **as_seen)
        if not seen.update(changed_by=actor.name, changed_at=timezone.now(), **changes):
            return False
        audit.record(f"breaker.{verb}", breaker.connection, reason=reason[:500])
    log.warning("breaker.changed", connection=breaker.connection.slug, change=verb, reason=reason[:500])
    return True
