"""Two at once, on a real database: for tests of what happens when people or processes meet at one row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import monotonic
from typing import TypeVar

from django.db import connection, models, transaction

Result = TypeVar("Result")
DEADLINE_SECONDS = 30


def race(row: models.Model, acts: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
    """Do `acts` at once, each in a thread with a connection of its own, and return what each came to, in order.

    `row` is held until all of them stand at it, so that none is done before the others have begun.
    """
    at_the_start: SimpleQueue[int] = SimpleQueue()

    def run(act: Callable[[], Result]) -> Result:
        try:
            at_the_start.put(_process_of_this_connection())
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        with transaction.atomic():
            type(row)._default_manager.select_for_update().get(pk=row.pk)
            futures = [pool.submit(run, act) for act in acts]
            _wait_until_all_wait([at_the_start.get(timeout=DEADLINE_SECONDS) for _ in acts])
        errors = [future.exception(timeout=DEADLINE_SECONDS) for future in futures]
    outcomes: list[Result | Exception] = []
    for future, error in zip(futures, errors, strict=True):
        if error is None:
            outcomes.append(future.result())
        elif isinstance(error, Exception):
            outcomes.append(error)
        else:
            raise error
    return outcomes


def _process_of_this_connection() -> int:
    """PostgreSQL's number for the other end of this connection; SQLite has no other end."""
    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _wait_until_all_wait(processes: list[int]) -> None:
    """Return once every one of the processes waits for a lock. SQLite does not tell; there, whoever begins a
    transaction while this one is open waits, and whoever has not begun yet will begin after it."""
    if connection.vendor == "sqlite":
        return
    deadline = monotonic() + DEADLINE_SECONDS
    with connection.cursor() as cursor:
        while monotonic() < deadline:
            cursor.execute(
                "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid = ANY(%s)", [processes]
            )
            if cursor.fetchone()[0] == len(processes):
                return
    raise TimeoutError("Not all of them came to wait: they do not meet at this row.")
