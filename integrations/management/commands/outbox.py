"""What has to happen outside: `manage.py outbox [--json]`, `outbox drain [--json]`, `outbox retry ID|--all-failed`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from django.db.models import Count
from django.utils import timezone

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.models import DeliveryPause, OutboxMessage
from integrations.models.outbox import MessageStatus
from integrations.notices import send_alerts
from integrations.outbox.by_hand import retry
from integrations.outbox.library import reconcile_library
from integrations.outbox.settle import Settled
from integrations.outbox.worker import work_off

# So many messages are told of: the oldest that are not delivered.
SHOWN: Final = 50
_FAILED: Final = (Settled.FAILED, Settled.ESCALATED)


class Command(OutcomeCommand):
    help = "Show what waits to be delivered, work it off here and now, or make due again what has failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action")
        drain = actions.add_parser("drain", help="reconcile, and deliver what is due, in this process")
        again = actions.add_parser("retry", help="make due at once what failed its last attempt")
        chosen = again.add_mutually_exclusive_group(required=True)
        chosen.add_argument("message", nargs="?", type=int, metavar="ID", help="one message")
        chosen.add_argument(
            "--all-failed", action="store_true", help="every message that failed its last attempt"
        )
        again.add_argument("--reason", default="", help="why; it is kept in the audit trail")
        for action in (drain, again):
            action.add_argument("--json", action="store_true", help="print one JSON value instead of text")

    def outcome(self, **options: Any) -> Outcome:
        """Exit status 0 also where deliveries failed: what came of them is in the report, and in an alert."""
        if options["action"] == "drain":
            return _drain()
        return _retry(options) if options["action"] == "retry" else _show()


def _show() -> Outcome:
    unfinished = OutboxMessage.objects.unfinished().select_related("connection").order_by("pk")
    data = {**_counts(), "messages": [_report(message) for message in unfinished[:SHOWN]]}
    return Outcome(data, [_summary(data), *(_line(message) for message in data["messages"])])


def _drain() -> Outcome:
    sweep = reconcile_library()
    done = work_off(is_patient=True)
    send_alerts()
    counts = _counts()
    data = {
        "attempted": done.attempted,
        "delivered": done.counts[Settled.DELIVERED],
        "failed": sum(done.counts[settled] for settled in _FAILED),
        "blocked": done.counts[Settled.BLOCKED],
        "escalated": done.counts[Settled.ESCALATED],
        "sweep": {"requested": sweep.followed.requested, "ended": sweep.ended, "held": sweep.held},
        "outbox": counts,
    }
    line = (
        f"{data['attempted']} attempts: {data['delivered']} delivered, {data['failed']} failed "
        f"({data['escalated']} of them for the last time), {data['blocked']} blocked."
    )
    held = [f"{sweep.held} library accounts wait for a person: the sweep is held."] if sweep.held else []
    return Outcome(data, [line, *held, _summary(counts)])


def _retry(options: dict[str, Any]) -> Outcome:
    messages = OutboxMessage.objects.all()
    if not options["all_failed"]:
        messages = messages.filter(pk=options["message"])
        if not messages.exists():
            raise Refusal(f"There is no outbox message {options['message']}.")
    count = retry(messages, reason=options["reason"])
    if not count and not options["all_failed"]:
        raise Refusal(
            f"Message {options['message']} did not fail its last attempt: there is nothing to retry."
        )
    return Outcome({"retried": count, **_counts()}, [f"{count} messages are due now."])


def _counts() -> dict[str, Any]:
    """Messages by their status, how many are due now, and which connections are paused."""
    found = dict(OutboxMessage.objects.order_by().values_list("status").annotate(Count("pk")))
    return {
        **{status: found.get(status, 0) for status in MessageStatus.values},
        "due": OutboxMessage.objects.due(timezone.now()).count(),
        "paused": list(
            DeliveryPause.objects.order_by("connection__slug").values_list("connection__slug", flat=True)
        ),
    }


def _summary(data: dict[str, Any]) -> str:
    paused = f" Paused: {', '.join(data['paused'])}." if data["paused"] else ""
    return f"{data['waiting']} waiting, {data['due']} of them due; {data['escalated']} escalated; {data['delivered']} delivered.{paused}"


def _report(message: OutboxMessage) -> dict[str, Any]:
    return {
        "id": message.pk,
        "kind": message.kind,
        "connection": message.connection.slug,
        "subject": message.subject,
        "status": message.status,
        "attempts": message.attempts,
        "due_at": message.due_at,
        "created_at": message.created_at,
        "error_class": message.error_class,
        "reason": message.reason,
    }


def _line(message: dict[str, Any]) -> str:
    said = f": {message['reason']}" if message["reason"] else ""
    return f"  {message['id']} {message['kind']} {message['subject']} {message['status']}, {message['attempts']} attempts{said}"
