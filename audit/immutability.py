"""Rows that the database itself refuses to change, as a migration operation.

A rule that only our code keeps is broken by the first person with a SQL prompt. These triggers hold for
everybody but the table's owner, who can drop them; C1's runtime role is not the owner.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.triggers import TriggerOperation


class RefuseChanges(TriggerOperation):
    """Refuse UPDATE, DELETE and (PostgreSQL) TRUNCATE of a table.

    `allowed_update` is a SQL condition over OLD and NEW under which an UPDATE may pass all the same; it is
    written once for both databases. `frozen` names the columns that even such an UPDATE must leave alone.
    `keys` are the columns that are unique, each by itself: SQLite replaces a row by any of them.
    """

    def __init__(
        self,
        table: str,
        *,
        allowed_update: str = "",
        frozen: Sequence[str] = (),
        keys: Sequence[str] = ("id",),
    ) -> None:
        self.table = table
        self.keys = tuple(keys)
        self.allowed_update = allowed_update
        self.frozen = tuple(frozen)

    def describe(self) -> str:
        return f"Refuse changes to rows of {self.table}"

    def refused_update(self) -> str:
        """The SQL condition under which an UPDATE is refused."""
        if not self.allowed_update:
            return ""
        unchanged = " AND ".join(f"OLD.{column} IS NOT DISTINCT FROM NEW.{column}" for column in self.frozen)
        return f"NOT ({self.allowed_update}" + (f" AND {unchanged})" if unchanged else ")")

    def statements(self, vendor: str) -> list[str]:
        when = f"WHEN ({self.refused_update()}) " if self.allowed_update else ""
        if vendor == "postgresql":
            refuse = f"EXECUTE FUNCTION {self.table}_refuse()"
            return [
                f"CREATE FUNCTION {self.table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '% refused: rows of {self.table} are never changed or deleted', TG_OP "
                "USING ERRCODE = 'restrict_violation'; END $$",
                f"CREATE TRIGGER {self.table}_no_update BEFORE UPDATE ON {self.table} FOR EACH ROW {when}{refuse}",
                f"CREATE TRIGGER {self.table}_no_delete BEFORE DELETE ON {self.table} FOR EACH ROW {refuse}",
                f"CREATE TRIGGER {self.table}_no_truncate BEFORE TRUNCATE ON {self.table} "
                f"FOR EACH STATEMENT {refuse}",
            ]
        # SQLite before 3.39 has no IS NOT DISTINCT FROM; its IS means the same.
        when = when.replace("IS NOT DISTINCT FROM", "IS")
        # INSERT OR REPLACE deletes the row that stands in its way without telling the delete trigger
        # (sqlite.org/lang_conflict), so an insert over a row that is there is refused by a trigger of its own.
        same = " OR ".join(f"{key} = NEW.{key}" for key in self.keys)
        taken = f"WHEN EXISTS (SELECT 1 FROM {self.table} WHERE {same}) "
        return [
            f"CREATE TRIGGER {self.table}_no_{event.lower()} BEFORE {event} ON {self.table} FOR EACH ROW "
            f"{condition}BEGIN SELECT RAISE(ABORT, "
            f"'{event} refused: rows of {self.table} are never changed or deleted'); END"
            for event, condition in (("UPDATE", when), ("DELETE", ""), ("INSERT", taken))
        ]

    def removal(self, vendor: str) -> list[str]:
        if vendor == "postgresql":
            return [f"DROP FUNCTION {self.table}_refuse() CASCADE"]
        return [f"DROP TRIGGER {self.table}_no_{event}" for event in ("update", "delete", "insert")]


# Whose rights an archiving has on PostgreSQL, and nobody else. See audit/database_roles.py.
ARCHIVIST = "matricula_archivist"


class AllowArchiving(TriggerOperation):
    """Let rows go from a table that refuses changes, once `is_archived` (a SQL condition over OLD) holds for them.

    On PostgreSQL only the archivist's role may; SQLite has no roles, so that there the condition is all. It asks for a
    signed checkpoint that covers the row.
    """

    def __init__(self, table: str, *, is_archived: str) -> None:
        self.table = table
        self.is_archived = is_archived

    def describe(self) -> str:
        return f"Let archived rows of {self.table} go"

    def statements(self, vendor: str) -> list[str]:
        if vendor == "postgresql":
            exception = (
                f"IF TG_OP = 'DELETE' AND current_user = '{ARCHIVIST}' THEN "
                f"IF {self.is_archived} THEN RETURN OLD; END IF; END IF; "
            )
            return [self._function(exception)]
        return self._delete_trigger(f"WHEN NOT ({self.is_archived}) ")

    def removal(self, vendor: str) -> list[str]:
        return [self._function("")] if vendor == "postgresql" else self._delete_trigger("")

    def _function(self, exception: str) -> str:
        # Two IFs: OLD has no meaning in a trigger FOR EACH STATEMENT, which TRUNCATE's is.
        return (
            f"CREATE OR REPLACE FUNCTION {self.table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {exception}RAISE EXCEPTION '% refused: rows of {self.table} are never changed or deleted', TG_OP "
            "USING ERRCODE = 'restrict_violation'; END $$"
        )

    def _delete_trigger(self, condition: str) -> list[str]:
        return [
            f"DROP TRIGGER {self.table}_no_delete",
            f"CREATE TRIGGER {self.table}_no_delete BEFORE DELETE ON {self.table} FOR EACH ROW {condition}BEGIN "
            f"SELECT RAISE(ABORT, 'DELETE refused: rows of {self.table} are never changed or deleted'); END",
        ]


class LiftRefusal(TriggerOperation):
    """Take the triggers of an earlier RefuseChanges away, so that another one may make them anew: with more frozen
    columns, or after SQLite has remade the table. Backwards, they are as they were."""

    def __init__(self, refusal: RefuseChanges) -> None:
        self.refusal = refusal

    def describe(self) -> str:
        return f"Let rows of {self.refusal.table} change, until a refusal is made anew"

    def statements(self, vendor: str) -> list[str]:
        return self.refusal.removal(vendor)

    def removal(self, vendor: str) -> list[str]:
        return self.refusal.statements(vendor)
