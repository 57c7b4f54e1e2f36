"""The circuit breaker of a connection: `manage.py breaker status|open|close|reset SLUG`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Final

from integrations.management.output import Outcome, OutcomeCommand, Refusal, add_slug
from integrations.models import Breaker, Connection
from integrations.models.breaker import BreakerState, Hold
from integrations.transports.breaker import hold_closed, hold_open, reset

OVERRIDES: Final[dict[str, tuple[Callable[..., Breaker], str]]] = {
    "open": (hold_open, "let no call through until somebody says otherwise"),
    "close": (hold_closed, "let every call through, whatever fails, until somebody says otherwise"),
    "reset": (reset, "close it, forget what failed, and let it go by itself again"),
}


class Command(OutcomeCommand):
    help = "Show a connection's circuit breaker, hold it open or closed, or reset it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        every = [actions.add_parser("status", help="whether the connection's system is called at the moment")]
        for name, (_, words) in OVERRIDES.items():
            action = actions.add_parser(name, help=words)
            action.add_argument("--reason", default="", help="why; it is kept in the audit trail")
            every.append(action)
        for action in every:
            add_slug(action)
            action.add_argument("--json", action="store_true", help="print one JSON value instead of text")

    def outcome(self, **options: Any) -> Outcome:
        connection = Connection.objects.present().filter(slug=options["slug"]).first()
        if connection is None:
            known = ", ".join(Connection.objects.present().values_list("slug", flat=True)) or "none yet"
            raise Refusal(f"There is no connection {options['slug']!r}. There are: {known}.")
        if options["action"] == "status":
            breaker = Breaker.objects.filter(connection=connection).first() or Breaker(connection=connection)
        else:
            override, _ = OVERRIDES[options["action"]]
            breaker = override(connection, reason=options["reason"])
        return Outcome(_report(breaker), [_line(breaker)])


def _report(breaker: Breaker) -> dict[str, Any]:
    return {
        "connection": breaker.connection.slug,
        "state": breaker.state.upper(),
        "held": breaker.hold or None,
        "failures": breaker.failures,
        "opened_at": breaker.opened_at,
        "tries_again_at": breaker.tries_again_at,
        "reason": breaker.reason,
        "changed_by": breaker.changed_by,
    }


def _line(breaker: Breaker) -> str:
    name = breaker.connection.name
    if breaker.hold:
        return f"{name}: {Hold(breaker.hold).label.lower()} by {breaker.changed_by}."
    if breaker.state == BreakerState.CLOSED:
        return f"{name}: closed, {breaker.failures} failed in a row."
    at = breaker.tries_again_at
    return f"{name}: {breaker.get_state_display().lower()}; it is tried again at {at:%Y-%m-%d %H:%M:%S} UTC. {breaker.reason}"
