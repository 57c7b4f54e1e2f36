"""Partners' keys: `manage.py consumers create|list|suspend|resume|rotate|revoke`."""

from __future__ import annotations

import datetime
from argparse import ArgumentParser
from typing import Any, Final

from apiauth import operations
from apiauth.models import Consumer
from apiauth.models.consumer import DEFAULT_HOURLY_LIMIT
from apiauth.operations import Credentials
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration import operations as registration_operations
from registration.disclosure import admit_consumer, students_named
from registration.models import StudentGrant

DECISIONS: Final = {
    "suspend": "stop a consumer until it is resumed",
    "resume": "let a suspended consumer go on",
    "rotate": "give a consumer a new secret, and print it once",
    "revoke": "end a consumer for good",
}
DEFAULT_OVERLAP_HOURS: Final = 24
DEFAULT_PURPOSE: Final = "Granted on the command line."


class Command(OutcomeCommand):
    help = "Make, list and end the keys of partner systems."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        creating = actions.add_parser(
            "create", help="make a consumer, and print its client id and secret once"
        )
        creating.add_argument("name", help="what people call it, such as 'Housing office'")
        creating.add_argument(
            "--scopes", required=True, help='what it may do, such as "sections:read calendar:read"'
        )
        creating.add_argument(
            "--students",
            help="whom it may see: all, program:CODE, college:CODE or student:NUMBER; none without it",
        )
        creating.add_argument(
            "--purpose", default=DEFAULT_PURPOSE, help="what it needs the students for; it is kept"
        )
        creating.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_HOURLY_LIMIT,
            help=f"requests an hour; {DEFAULT_HOURLY_LIMIT} without it",
        )
        creating.add_argument("--contact", default="", help="the e-mail address of who answers for it")
        listing = actions.add_parser("list", help="every consumer and how it stands")
        deciding = {name: actions.add_parser(name, help=words) for name, words in DECISIONS.items()}
        for action in deciding.values():
            action.add_argument("consumer", metavar="NAME|CLIENT_ID", help="its name or client id")
            action.add_argument("--reason", default="", help="why; it is kept with the event")
        deciding["rotate"].add_argument(
            "--overlap-hours",
            type=int,
            default=DEFAULT_OVERLAP_HOURS,
            help=f"how long the old secret works beside the new one; {DEFAULT_OVERLAP_HOURS} without it, 0: not at all",
        )
        for action in (creating, listing, *deciding.values()):
            action.add_argument("--json", action="store_true", help="print one JSON value instead of text")

    def outcome(self, **options: Any) -> Outcome:
        try:
            return getattr(self, f"_{options['action']}")(**options)  # type: ignore[no-any-return]
        except (operations.Refused, registration_operations.Refused) as refused:
            raise Refusal(str(refused)) from None

    def _create(self, **options: Any) -> Outcome:
        named = students_named(options["students"]) if options["students"] else None
        made = admit_consumer(
            options["name"],
            scopes=options["scopes"].replace(",", " ").split(),
            contact=options["contact"],
            students=named,
            purpose=options["purpose"],
            hourly_limit=options["limit"],
        )
        return _with_secret(made)

    def _list(self, **options: Any) -> Outcome:
        consumers = list(Consumer.objects.order_by("name", "id"))
        return Outcome([_report(each) for each in consumers], [_line(each) for each in consumers])

    def _rotate(self, **options: Any) -> Outcome:
        overlap = datetime.timedelta(hours=options["overlap_hours"])
        return _with_secret(
            operations.rotate_secret(_named(options["consumer"]), overlap=overlap, reason=options["reason"])
        )

    def _suspend(self, **options: Any) -> Outcome:
        return _as_it_stands(operations.suspend(_named(options["consumer"]), reason=options["reason"]))

    def _resume(self, **options: Any) -> Outcome:
        return _as_it_stands(operations.resume(_named(options["consumer"]), reason=options["reason"]))

    def _revoke(self, **options: Any) -> Outcome:
        return _as_it_stands(operations.revoke(_named(options["consumer"]), reason=options["reason"]))


def _named(name: str) -> Consumer:
    consumer = Consumer.objects.called(name).first()
    if consumer is None:
        raise Refusal(f"There is no consumer with the name or client id {name[:80]!r}.")
    return consumer


def _with_secret(made: Credentials) -> Outcome:
    """The one time that a secret is told."""
    report = _report(made.consumer)
    lines = [
        _line(made.consumer),
        f"  client_id:     {made.consumer.client_id}",
        f"  client_secret: {made.secret}",
        "Keep the secret now: it is not shown again.",
    ]
    return Outcome({**report, "client_secret": made.secret}, lines)


def _as_it_stands(consumer: Consumer) -> Outcome:
    return Outcome(_report(consumer), [_line(consumer)])


def _report(consumer: Consumer) -> dict[str, Any]:
    grants = (
        StudentGrant.objects.current()
        .filter(consumer=consumer)
        .select_related("program", "college", "student")
    )
    return {
        "name": consumer.name,
        "client_id": consumer.client_id,
        "contact": consumer.contact,
        "status": consumer.status,
        "scopes": consumer.scopes,
        "students": [_audience(each) for each in grants],
        "hourly_limit": consumer.hourly_limit,
        "expires_on": consumer.expires_on,
        "last_used_at": consumer.last_used_at,
        "previous_secret_ends_at": consumer.previous_secret_ends_at,
    }


def _audience(given: StudentGrant) -> str:
    """As `--students` takes it."""
    code = (
        (given.program and given.program.code)
        or (given.college and given.college.code)
        or (given.student and given.student.number)
    )
    return f"{given.audience}:{code}" if code else given.audience


def _line(consumer: Consumer) -> str:
    return f"{consumer.name} ({consumer.client_id}): {consumer.status}, {' '.join(consumer.scopes) or 'no scopes'}"
