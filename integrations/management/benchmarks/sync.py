"""The sync contest: the product's whole road beside COPY and a join, phase by phase, on the same pages and the same server."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.conf import settings
from django.db import ProgrammingError, connection
from django.db.models import Sum

from integrations.datasets.aid_awards import POSTING_STATUSES
from integrations.management.benchmarks import awards
from integrations.management.benchmarks.award_source import HOST
from integrations.management.benchmarks.awards import TODAY, TOMORROW
from integrations.management.benchmarks.copy_and_diff import SCHEMA
from integrations.management.benchmarks.database import address_of, copied_database
from integrations.models import Change, LoggedRequest, RunPage, SyncLink
from integrations.operations import save_connection
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import EntryState

SLUG: Final = "benchmark-aid"
_BENCHMARKS: Final = "integrations.management.benchmarks"
_TURN_SECONDS: Final = 900
# What both fill: tables whose statistics and pages a server keeps in order between one day and the next.
_GROWING: Final = (
    *("limit_award", "limit_change"),
    *(model._meta.db_table for model in (Change, SyncLink, RunPage, LedgerEntry, LoggedRequest)),
)
_EVERYTHING_PASSES: Final = {
    "first_load": "apply",
    **dict.fromkeys(
        [
            "max_void_share",
            "max_void_count",
            "max_modified_share",
            "max_modified_count",
            "max_gross_change_share",
            "max_gross_change",
            "max_student_change",
        ]
    ),
}


@dataclass(frozen=True)
class Phase:
    """What the source holds in a phase, in which envelope, and whether the limit keeps a log of its changes as well."""

    name: str
    version: int
    envelope: str
    has_log: bool


# In this order: each begins where the one before it ended.
PHASES: Final = (
    Phase("load", TODAY, "first", has_log=True),
    Phase("nochange", TODAY, "second", has_log=False),  # the same records in other bytes
    Phase("identical", TODAY, "second", has_log=False),  # the same bytes
    Phase("delta", TOMORROW, "third", has_log=True),
)


@dataclass(frozen=True)
class Turn:
    """One phase of one round: the seconds of both, and the product's peak of memory."""

    seconds: float
    limit_seconds: float
    rss_mb: float


def sync_lines(rows: int, rounds: int) -> Iterator[dict[str, Any]]:
    """A line for each phase: medians over the rounds, and the median of the rounds' own ratios. Every round begins on a copy
    of the database, with students and no awards. Raises RuntimeError for whoever does not end with what the source holds."""
    load_students(rows)
    with source(rows) as address:
        connect_to(address)
        found = []
        for _ in range(rounds):
            with copied_database():
                found.append(round_of(address, rows))
    for phase, turns in zip(PHASES, zip(*found, strict=True), strict=True):
        yield line_of(phase, rows, turns)


def round_of(address: str, rows: int) -> list[Turn]:
    """Every phase once, in order, in the database that this process is led to."""
    with connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
    return [_turn(address, phase, rows) for phase in PHASES]


def line_of(phase: Phase, rows: int, turns: Sequence[Turn]) -> dict[str, Any]:
    """What is printed of a phase."""
    return {
        "bench": "sync",
        "phase": phase.name,
        "rows": rows,
        "seconds": round(statistics.median(turn.seconds for turn in turns), 3),
        "limit_seconds": round(statistics.median(turn.limit_seconds for turn in turns), 3),
        "ratio": round(statistics.median(turn.seconds / turn.limit_seconds for turn in turns), 2),
        "rss_mb": statistics.median(turn.rss_mb for turn in turns),
    }


def load_students(rows: int) -> None:
    """Everybody and every term that so many awards name."""
    for place, code in enumerate(awards.TERMS):
        year = int(code[:4])
        Term.objects.create(
            code=code,
            name=f"Term {place + 1}",
            starts_on=f"{year}-01-10",
            census_on=f"{year}-02-01",
            ends_on=f"{year}-12-10",
        )
    numbers = sorted({award["student_id"] for award in awards.awards(rows, TODAY)})
    people = Student.objects.bulk_create(
        (Student(number=number, given_name="Ada", family_name="Okafor") for number in numbers),
        batch_size=5_000,
    )
    BillingAccount.objects.bulk_create(
        (BillingAccount(student=person, currency=settings.CURRENCY) for person in people), batch_size=5_000
    )


@contextmanager
def source(rows: int) -> Iterator[str]:
    """Start the other system and yield its address; stop it in the end."""
    command = [sys.executable, "-m", f"{_BENCHMARKS}.award_source", str(rows)]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            port = next(iter(process.stdout or ()))
            yield f"http://{HOST}:{int(port)}"
        finally:
            process.kill()


def connect_to(address: str) -> None:
    """The connection that the product syncs."""
    fields = {"student_number": "student_id", "term_code": "term"}
    own_name = ("award_id", "fund_code", "amount", "status", "updated_at")
    save_connection(
        {
            "slug": SLUG,
            "name": "Benchmark",
            "connector": "rest",
            "base_url": address,
            "schedule": {"every_minutes": 1440},
            "datasets": {
                "aid_awards": {
                    "path": "/awards",
                    "records": "results",
                    "pagination": {"type": "next_url", "next": "next"},
                    "mapping": {**fields, **{name: name for name in own_name}},
                }
            },
            "guards": _EVERYTHING_PASSES,
        }
    )


def _hold(address: str, phase: Phase) -> None:
    edition = f"{address}/edition?version={phase.version}&envelope={phase.envelope}"
    with urllib.request.urlopen(edition, timeout=_TURN_SECONDS) as answer:  # noqa: S310  our own server
        answer.read()


def _turn(address: str, phase: Phase, rows: int) -> Turn:
    """Let the limit and then the product bring their tables to what the source holds, each on a database at rest."""
    _hold(address, phase)
    _rest()
    first_page, log = f"{address}/awards?page=1", ["--log"] if phase.has_log else []
    limit_seconds = float(_run("copy_and_diff", address_of(connection.settings_dict), first_page, *log))
    _check_limit(phase, rows)
    _rest()
    product = orjson.loads(_run("product_turn", SLUG, allowed=address.removeprefix("http://")))
    _check_product(phase, rows, product)
    return Turn(product["seconds"], limit_seconds, product["rss_mb"])


def _rest() -> None:
    """What a server does by itself between one day's sync and the next."""
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {', '.join(_GROWING)}")
        with suppress(ProgrammingError):  # a role that may not: the server does it in its own time
            cursor.execute("CHECKPOINT")


def _run(module: str, *arguments: str, allowed: str = "") -> str:
    """What a process of its own prints. Raises RuntimeError that says why it failed."""
    environment = {
        **os.environ,
        "DATABASE_URL": address_of(connection.settings_dict),
        "ALLOW_PRIVATE_HOSTS": allowed,
    }
    done = subprocess.run(  # noqa: S603  modules of our own
        [sys.executable, "-m", f"{_BENCHMARKS}.{module}", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TURN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr[-1_000:]}")
    return done.stdout


def _check_limit(phase: Phase, rows: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(sum(amount) * 100, 0) FROM limit_award WHERE NOT is_void")
        count, cents = cursor.fetchone()
    _refuse(phase, "the limit", (count, int(cents)), _held(rows, phase.version))


def _check_product(phase: Phase, rows: int, product: dict[str, Any]) -> None:
    """The run says that all of it is applied; links, ledger and changes say the same."""
    changed, gone = awards.changed_places(rows)
    expected = {
        "load": (rows, 0, 0, 0),
        "nochange": (0, 0, 0, rows),
        "identical": (0, 0, 0, rows),
        "delta": (0, changed, gone, rows - changed - gone),
    }[phase.name]
    said = tuple(product[name] for name in ("created", "modified", "voided", "unchanged"))
    _refuse(phase, f"the run ({product['status']} {product['reason']})", said, expected)
    links = SyncLink.objects.filter(live=True)
    _refuse(
        phase,
        "the links",
        (links.count(), links.aggregate(sum=Sum("amount"))["sum"]),
        _held(rows, phase.version),
    )
    on_bills = LedgerEntry.objects.exclude(state=EntryState.VOID)
    found = (on_bills.count(), on_bills.aggregate(sum=Sum("amount_minor"))["sum"])
    _refuse(phase, "the ledger", found, _held(rows, phase.version, POSTING_STATUSES))
    wanted = rows + (changed + gone if phase.name == "delta" else 0)
    _refuse(phase, "the changes", Change.objects.count(), wanted)


def _held(rows: int, version: int, statuses: frozenset[str] = frozenset(awards.STATUSES)) -> tuple[int, int]:
    """How many awards the source holds, and their cents."""
    amounts = [
        awards.cents(award["amount"]) for award in awards.awards(rows, version) if award["status"] in statuses
    ]
    return len(amounts), sum(amounts)


def _refuse(phase: Phase, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(f"After {phase.name} {what} should come to {expected}, and it is {found}.")
