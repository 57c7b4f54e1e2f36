"""The limit of the sync benchmark: what PostgreSQL and one process can do for the same result, with nothing around it.

    python -m integrations.management.benchmarks.copy_and_diff CONNINFO FIRST_PAGE [--log]

Pages are fetched by urllib3, parsed by orjson and copied into a temporary table; one join finds what differs, and only that is
written. `--log` keeps a row with before and after for each change, too. There are no rejections, no references, no plan to look
at, no resumption and no certificate: what stands between this and the product is what they cost. It prints its seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import orjson
import psycopg
import urllib3

SCHEMA: Final = (
    "CREATE TABLE limit_award (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, award_id varchar(32) NOT NULL UNIQUE, "
    "student_id varchar(32) NOT NULL, fund_code varchar(16) NOT NULL, term varchar(16) NOT NULL, "
    "amount numeric(12, 2) NOT NULL, status varchar(16) NOT NULL, updated_at timestamptz NOT NULL, "
    "is_void boolean NOT NULL DEFAULT false)",
    "CREATE TABLE limit_change (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, award_id varchar(32) NOT NULL, "
    "action char(1) NOT NULL, before jsonb, after jsonb)",
)
_VALUES: Final = ("student_id", "fund_code", "term", "amount", "status", "updated_at")
_NAMES: Final = ", ".join(_VALUES)


def main(conninfo: str, address: str, *, has_log: bool) -> float:
    """Bring the table to what the feed says and return how many seconds that took, from connecting to the commit."""
    start = time.perf_counter()
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        _stage(cursor, _pages(address))
        _apply(cursor, has_log=has_log)
    return time.perf_counter() - start


def _pages(address: str | None) -> Iterator[list[dict[str, Any]]]:
    pool = urllib3.PoolManager(maxsize=1)
    while address:
        page = orjson.loads(pool.request("GET", address).data)
        yield page["results"]
        address = page["next"]


def _stage(cursor: psycopg.Cursor[Any], pages: Iterator[list[dict[str, Any]]]) -> None:
    cursor.execute(
        "CREATE TEMPORARY TABLE staged (award_id varchar(32), student_id varchar(32), fund_code varchar(16), "
        "term varchar(16), amount numeric(12, 2), status varchar(16), updated_at timestamptz)"
    )
    with cursor.copy("COPY staged FROM STDIN") as copy:
        for page in pages:
            # The data has nothing in it that COPY's text format would have to escape.
            copy.write("".join(["\t".join(record.values()) + "\n" for record in page]))
    cursor.execute("ANALYZE staged")


def _apply(cursor: psycopg.Cursor[Any], *, has_log: bool) -> None:
    """Find what differs, write that, and void what is gone."""
    cursor.execute(
        f"CREATE TEMPORARY TABLE differing AS SELECT staged.*, stored.id AS stored_id, "
        f"{_object('stored') if has_log else 'NULL::jsonb'} AS before "
        "FROM staged LEFT JOIN limit_award AS stored USING (award_id) WHERE stored.id IS NULL "
        f"OR ({_values_of('stored')}, stored.is_void) IS DISTINCT FROM ({_values_of('staged')}, false)"
    )
    cursor.execute(
        f"INSERT INTO limit_award (award_id, {_NAMES}) SELECT award_id, {_NAMES} FROM differing WHERE stored_id IS NULL"
    )
    cursor.execute(
        f"UPDATE limit_award AS stored SET ({_NAMES}, is_void) = ROW ({_values_of('differing')}, false) FROM differing "
        "WHERE stored.id = differing.stored_id"
    )
    cursor.execute(
        "UPDATE limit_award AS stored SET is_void = true WHERE NOT is_void "
        "AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.award_id = stored.award_id) RETURNING award_id"
    )
    gone = [award_id for (award_id,) in cursor.fetchall()]
    if has_log:
        cursor.execute("INSERT INTO limit_change (award_id, action) SELECT unnest(%s::text[]), 'V'", [gone])
        cursor.execute(
            "INSERT INTO limit_change (award_id, action, before, after) SELECT award_id, "
            "CASE WHEN stored_id IS NULL THEN 'C' ELSE 'M' END, CASE WHEN stored_id IS NOT NULL THEN before END, "
            f"{_object('differing')} FROM differing"
        )


def _values_of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _VALUES)


def _object(table: str) -> str:
    pairs = ", ".join(f"'{name}', {table}.{name}" for name in _VALUES)
    return f"jsonb_build_object({pairs})"


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], has_log="--log" in sys.argv))  # noqa: T201  what the starter reads
