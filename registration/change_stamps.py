"""Rows that say when they changed last, as a migration operation.

A partner asks for what has changed since an instant, and misses for good whatever bears an older one than it should. So the
database itself stamps the row, whoever writes it: `save()`, a bulk statement, a person with a SQL prompt. A stale object that
is saved over a newer row does not take the stamp back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from audit.triggers import TriggerOperation

# As Django's own Now() has it there: SQLite's clock knows milliseconds.
_SQLITE_NOW: Final = "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class StampChanges(TriggerOperation):
    """Keep in `column` of a table the instant at which one of the `watched` columns changed last.

    The column itself has its first value from its database default. SQLite drops the triggers of a table that a later
    migration remakes: such a migration names this operation again, and tests/registration/test_change_stamps.py sees to it.
    """

    def __init__(self, table: str, column: str, *, watched: Sequence[str]) -> None:
        self.table, self.column, self.watched = table, column, tuple(watched)

    @property
    def name(self) -> str:
        return f"{self.table}_stamp_{self.column}"

    def describe(self) -> str:
        return f"Stamp changes of {self.table} in {self.column}"

    def statements(self, vendor: str) -> list[str]:
        if vendor == "postgresql":
            changed = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in self.watched)
            # clock_timestamp() and not now(): the nearer to the commit, the less a reader can miss.
            return [
                f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF {changed} THEN NEW.{self.column} = clock_timestamp(); "
                f"ELSE NEW.{self.column} = OLD.{self.column}; END IF; RETURN NEW; END $$",
                f"CREATE TRIGGER {self.name} BEFORE UPDATE ON {self.table} FOR EACH ROW "
                f"EXECUTE FUNCTION {self.name}()",
            ]
        # SQLite's row is changed already when the trigger speaks; the trigger does not call itself (recursive_triggers
        # is off unless somebody turns it on, sqlite.org/pragma). Its IS NOT is SQL's IS DISTINCT FROM.
        changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in self.watched)
        return [
            f"CREATE TRIGGER {self.name} AFTER UPDATE ON {self.table} FOR EACH ROW "
            f"WHEN {changed} OR OLD.{self.column} IS NOT NEW.{self.column} BEGIN "
            f"UPDATE {self.table} SET {self.column} = CASE WHEN {changed} THEN {_SQLITE_NOW} "
            f"ELSE OLD.{self.column} END WHERE id = NEW.id; END",
        ]

    def removal(self, vendor: str) -> list[str]:
        if vendor == "postgresql":
            return [f"DROP FUNCTION {self.name}() CASCADE"]
        return [f"DROP TRIGGER {self.name}"]
