"""What the database ought to refuse, as the migrations made it, and whether it still does.

A trigger that was dropped, switched off or made anew to do nothing leaves the chain whole until somebody uses the gap. So the
triggers are compared with what the migrations' own operations say, word for word, of every table that refuses changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from audit.immutability import AllowArchiving, RefuseChanges

_TRIGGER: Final = re.compile(r"CREATE TRIGGER (\w+)_no_(\w+) ")
_BODY: Final = re.compile(r"\$\$(.*)\$\$", re.DOTALL)


def missing_refusals() -> list[tuple[str, str]]:
    """What is not refused any more, as a table and UPDATE, DELETE, TRUNCATE or (SQLite) INSERT over a row that is there."""
    present = _present()
    return [
        (table, event.upper())
        for table, event, wanted in _promised()
        if _squeezed(present.get((table, event), "")) != _squeezed(wanted)
    ]


def _promised() -> Iterator[tuple[str, str, str]]:
    """Each trigger that the migrations leave behind: its table, what it refuses, and what it is to say."""
    refusals: dict[str, RefuseChanges] = {}
    archiving: dict[str, AllowArchiving] = {}
    for _, migration in sorted(MigrationLoader(None).disk_migrations.items()):
        for operation in migration.operations:
            if isinstance(operation, RefuseChanges):
                refusals[operation.table] = operation
            elif isinstance(operation, AllowArchiving):
                archiving[operation.table] = operation
    for table, refusal in refusals.items():
        yield from _triggers_of(refusal, archiving.get(table))


def _triggers_of(refusal: RefuseChanges, archiving: AllowArchiving | None) -> Iterator[tuple[str, str, str]]:
    """On PostgreSQL what a trigger says is its condition and the function that all of a table's share."""
    made = refusal.statements(connection.vendor)
    later = archiving.statements(connection.vendor) if archiving else []
    function = "".join(_BODY.findall("".join(later or made))[-1:])
    latest = {found[2]: statement for statement in [*made, *later] if (found := _TRIGGER.search(statement))}
    for event, statement in latest.items():
        condition = (
            f"WHEN ({refusal.refused_update()})" if event == "update" and refusal.allowed_update else ""
        )
        says = _postgresql_says(condition, function) if connection.vendor == "postgresql" else statement
        yield refusal.table, event, says


def _postgresql_says(condition: str, function: str) -> str:
    # PostgreSQL writes a condition anew in its own words: that there is one is what can be compared.
    return f"{'WHEN' if condition else 'ALWAYS'} {function}"


def _present() -> dict[tuple[str, str], str]:
    """What the triggers that fire say now, by table and by what they refuse."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Enabled for an ordinary session: O and A fire there, D and R do not.
            cursor.execute(
                "SELECT relation.relname, trigger.tgname, trigger.tgqual IS NOT NULL, function.prosrc "
                "FROM pg_trigger AS trigger JOIN pg_class AS relation ON relation.oid = trigger.tgrelid "
                "JOIN pg_proc AS function ON function.oid = trigger.tgfoid "
                "WHERE NOT trigger.tgisinternal AND trigger.tgenabled IN ('O', 'A')"
            )
            rows = [
                (table, name, _postgresql_says("WHEN" if is_conditional else "", function))
                for table, name, is_conditional, function in cursor.fetchall()
            ]
        else:
            cursor.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'")
            rows = cursor.fetchall()
    return {(table, name.removeprefix(f"{table}_no_")): says for table, name, says in rows}


def _squeezed(text: str) -> str:
    return " ".join(text.split())
