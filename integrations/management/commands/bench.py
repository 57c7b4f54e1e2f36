"""Measure the product beside what others would have built: `manage.py bench api|token|sync`."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from apiauth.counters import counters
from integrations.management.benchmarks.api import depth_lines, page_lines, token_lines
from integrations.management.benchmarks.catalogue import Keys, load_catalogue, settle
from integrations.management.benchmarks.contest import Effort
from integrations.management.benchmarks.database import scratch_database
from integrations.management.benchmarks.sync import sync_lines

Lines = Iterator[dict[str, Any]]
PACKAGES: Final = ("fastapi", "uvicorn", "asyncpg")
INSTALL: Final = "python -m pip install -r integrations/management/benchmarks/requirements.txt"


def api_lines(keys: Keys, environment: Mapping[str, str], effort: Effort) -> Lines:
    """A page beside the peers' page, and a page far down the list beside the first."""
    yield from page_lines(environment, effort)
    yield from depth_lines(environment, effort)


# What each benchmark measures: in words, and from the keys of its consumer, the environment of its servers and its effort.
CONTESTS: Final[dict[str, tuple[str, Callable[[Keys, Mapping[str, str], Effort], Lines]]]] = {
    "api": ("a page of 100 sections out of 2,000", api_lines),
    "token": ("issuing a token", token_lines),
}
SYNC: Final = "sync"
# At the smaller size fixed costs show.
SYNC_ROWS: Final = (10_000, 100_000)


class Command(BaseCommand):
    help = "Measure the product beside its peers, or beside the limit of the machine, as JSON lines."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        benches = parser.add_subparsers(dest="bench", required=True)
        for name, (words, _) in CONTESTS.items():
            bench = benches.add_parser(name, help=words)
            bench.add_argument("--seconds", type=int, default=5, help="how long each turn lasts")
            bench.add_argument("--rounds", type=int, default=3, help="how many turns each has")
            bench.add_argument(
                "--requests",
                type=int,
                default=0,
                help="make so many requests one after the other instead, without wrk: that it works, not how fast",
            )

        sync = benches.add_parser(SYNC, help="a sync's whole road beside COPY and a join")
        sync.add_argument(
            "--rows", type=int, nargs="+", default=SYNC_ROWS, help="how many awards the source has"
        )
        sync.add_argument("--rounds", type=int, default=5, help="how often each phase is measured")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for line in sync_sizes(options) if options["bench"] == SYNC else contest(options):
                self.stdout.write(orjson.dumps(line).decode())
                self.stdout.flush()
        except RuntimeError as error:
            raise CommandError(str(error)) from error


def contest(options: Mapping[str, Any]) -> Lines:
    """The product's server and its peers, on a catalogue."""
    effort = Effort(options["seconds"], options["rounds"], options["requests"])
    refuse_what_is_missing(effort)
    _, lines = CONTESTS[options["bench"]]
    with scratch_database() as database, own_counts() as prefix:
        keys = load_catalogue()
        settle()
        environment = {
            "DATABASE_URL": database,
            "COUNTERS_PREFIX": prefix,
            "BASE_URL": settings.BASE_URL,
        }
        yield from lines(keys, environment, effort)


def sync_sizes(options: Mapping[str, Any]) -> Lines:
    """The road of a sync, for each size of the source."""
    refuse_embedded()
    for rows in options["rows"]:
        with scratch_database():
            yield from sync_lines(rows, options["rounds"])


def refuse_embedded() -> None:
    """Raises CommandError on anything but real servers."""
    if connection.vendor != "postgresql" or settings.EMBEDDED:
        raise CommandError(
            "A benchmark runs on real servers: set DATABASE_URL (PostgreSQL) and REDIS_URL. It makes a database of its own "
            "beside yours, and drops it."
        )


def refuse_what_is_missing(effort: Effort) -> None:
    """Raises CommandError that says what to install or to set."""
    refuse_embedded()
    if not effort.requests and shutil.which("wrk") is None:
        raise CommandError("The load is made by wrk, which is not on the PATH: apt install wrk")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"The peers need {', '.join(missing)}: {INSTALL}")


@contextmanager
def own_counts() -> Iterator[str]:
    """A prefix for what is counted in this run, so that no consumer of the installation is charged for it; what was counted
    goes at the end."""
    prefix = f"bench-{secrets.token_hex(8)}"
    kept, settings.COUNTERS_PREFIX = settings.COUNTERS_PREFIX, prefix
    try:
        yield prefix
    finally:
        settings.COUNTERS_PREFIX = kept
        for name in counters().scan_iter(f"*{prefix}*"):
            counters().delete(name)
