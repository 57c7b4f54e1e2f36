"""Rate and concurrency limits, exact over all processes.

An attempt is counted in the database, in one transaction that holds the account's row: of any number of processes that
ask at the same moment exactly as many pass as may. In any minute, wherever it begins, no more than the limit were sent.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from integrations.models import Allowance, Connection, Passage
from integrations.models.allowance import WINDOW
from integrations.models.connection import origin_of
from integrations.transports.errors import ErrorClass, NotAdmitted
from integrations.transports.messages import Purpose

# How long one attempt waits for its turn. A pull may wait out a whole minute's window.
PATIENCE: Final[dict[Purpose, float]] = {Purpose.PULL: 90.0, Purpose.DO: 5.0}
# How soon one looks again for a free seat: nobody knows when an attempt will end.
_LOOK_AGAIN: Final = datetime.timedelta(seconds=0.25)
# An attempt may take a little longer than its bound until it is over.
_MARGIN: Final = datetime.timedelta(seconds=10)


class LimitReached(NotAdmitted):
    """The system may not be asked now: our own limit is used up, or it asked to be left alone."""

    error_class = ErrorClass.THROTTLE
    advice = (
        "Sync again later, or raise the limits of the connection if the other system allows more. A pull that needs "
        "more requests than that goes on where it may."
    )

    def __init__(self, until: datetime.datetime, why: str) -> None:
        self.until = until
        super().__init__(f"it is not called until {until:%H:%M:%S} UTC: {why}")
        self.retry_after = max(0.0, (until - timezone.now()).total_seconds())


@dataclass(frozen=True)
class Limit:
    """What one account allows: attempts a minute, and attempts at once; None for as many as one likes."""

    key: str
    per_minute: int | None
    concurrent: int | None

    @property
    def words(self) -> str:
        """The limit as a person reads it."""
        parts = [
            f"{self.per_minute} requests a minute" if self.per_minute else "",
            f"{self.concurrent} at once" if self.concurrent else "",
        ]
        return " and ".join(filter(None, parts))


@dataclass(frozen=True)
class Turn:
    """Passages that were taken for one attempt, or when it is worth asking again, and why not now."""

    passages: tuple[int, ...] = ()
    again_at: datetime.datetime | None = None
    why: str = ""


def limits_of(connection: Connection) -> list[Limit]:
    """The limits that a connection's attempts count against: its own, and those of the host it shares with others, of
    which the strictest that any of them declares holds for all."""
    own = connection.limits
    found = [Limit(key_of(connection), own.get("per_minute"), own.get("concurrent"))]
    host = urlsplit(origin_of(connection.base_url)).netloc
    others = Connection.objects.present().exclude(limits={}).exclude(pk=connection.pk)
    sharing = [own, *(other.limits for other in others if urlsplit(other.origin).netloc == host)]
    found.append(
        Limit(f"host:{host}", _strictest(sharing, "host_per_minute"), _strictest(sharing, "host_concurrent"))
    )
    return [limit for limit in found if limit.per_minute or limit.concurrent]


def key_of(connection: Connection) -> str:
    """The name of a connection's own account."""
    return f"connection:{connection.pk}"


def _strictest(declared: list[dict[str, int]], name: str) -> int | None:
    return min((limits[name] for limits in declared if limits.get(name)), default=None)


@transaction.atomic
def take_turn(limits: list[Limit], seconds: float) -> Turn:
    """Count an attempt of at most `seconds` against every limit, or against none of them."""
    accounts = _locked([limit.key for limit in limits])
    now = timezone.now()  # not before the account is ours: whoever waited for it was late
    for limit in limits:
        passages = Passage.objects.filter(allowance=accounts[limit.key])
        if limit.per_minute:
            # The one that has to be a minute past before there is room.
            in_the_way = passages.within(now).order_by("-sent_at")[limit.per_minute - 1 : limit.per_minute]
            for passage in in_the_way:
                return Turn(again_at=passage.sent_at + WINDOW, why=f"our limit is {limit.words}")
        if limit.concurrent and passages.under_way(now).count() >= limit.concurrent:
            return Turn(again_at=now + _LOOK_AGAIN, why=f"our limit is {limit.words}")
    Passage.objects.filter(allowance__in=accounts.values()).past(now).delete()
    ends_at = now + datetime.timedelta(seconds=seconds) + _MARGIN
    taken = [
        Passage.objects.create(allowance=account, sent_at=now, ends_at=ends_at)
        for account in accounts.values()
    ]
    return Turn(tuple(passage.pk for passage in taken))


def _locked(keys: list[str]) -> dict[str, Allowance]:
    """The accounts, made where missing and held until the transaction ends: in one order, so that nobody waits in a
    circle."""
    Allowance.objects.bulk_create([Allowance(key=key) for key in sorted(keys)], ignore_conflicts=True)
    rows = Allowance.objects.select_for_update().filter(key__in=keys).order_by("key")
    return {account.key: account for account in rows}


def end_turn(turn: Turn) -> None:
    """Give the seats back: the attempt is over. That it was made goes on counting for its minute."""
    now = timezone.now()
    if turn.passages:
        Passage.objects.filter(pk__in=turn.passages, ends_at__gt=now, sent_at__lte=now).update(ends_at=now)


def give_back(turn: Turn) -> None:
    """Uncount an attempt that was not made after all."""
    if turn.passages:
        Passage.objects.filter(pk__in=turn.passages).delete()


def pause(connection: Connection, until: datetime.datetime) -> None:
    """Let no process ask the connection's system before `until`."""
    Allowance.objects.update_or_create(key=key_of(connection), defaults={"paused_until_at": until})


def paused_until(connection: Connection) -> datetime.datetime | None:
    """Until when the connection's system wants to be left alone; None where it does not, or no longer."""
    account = Allowance.objects.filter(key=key_of(connection), paused_until_at__gt=timezone.now()).first()
    return account.paused_until_at if account else None
