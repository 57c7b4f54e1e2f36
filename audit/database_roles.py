"""The roles of a PostgreSQL installation: who owns the tables, who runs the product, and who archives the trail.

The owner migrates. The runtime role reads and writes, but may not update, delete or truncate what proves the trail, and
truncates nothing: a trigger holds for everybody but the owner, who can switch it off, so the product is not the owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.db import connection

from audit.immutability import ARCHIVIST

# What only ever grows.
APPEND_ONLY: Final = ("audit_auditevent", "audit_auditseal", "audit_auditcheckpoint")
# What the archivist takes away once it is archived, and reads to do so.
ARCHIVED: Final = ("audit_auditevent", "audit_auditseal")
# PostgreSQL cuts longer names off, silently.
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def role_statements(*, runtime: str, database: str, owner: str) -> list[str]:
    """The statements, for the tables' owner, that make the roles and give each its rights in the public schema.

    They can be run again, and are to be after an upgrade. Names are of lower-case letters, digits and underscores;
    raises ValueError for another.
    """
    for name in (runtime, owner):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a role: use lower-case letters, digits and underscores."
            )
    append_only = ", ".join(APPEND_ONLY)
    return [
        *_make(runtime, "LOGIN"),
        *_make(ARCHIVIST, "NOLOGIN"),
        f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO {runtime}',
        f"GRANT USAGE ON SCHEMA public TO {runtime}, {ARCHIVIST}",
        f"REVOKE CREATE ON SCHEMA public FROM {runtime}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {runtime}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {runtime}",
        # What later migrations make.
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {runtime}",
        f"REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON {append_only} FROM {runtime}",
        # A checkpoint lets rows go: only an archiving makes one.
        f"REVOKE INSERT ON audit_auditcheckpoint FROM {runtime}",
        f"GRANT SELECT, DELETE ON {', '.join(ARCHIVED)} TO {ARCHIVIST}",
        f"GRANT SELECT, INSERT ON audit_auditcheckpoint, audit_auditevent TO {ARCHIVIST}",
        f"GRANT USAGE, SELECT ON SEQUENCE audit_auditevent_id_seq TO {ARCHIVIST}",
    ]


def excess_rights() -> list[str]:
    """What the role at hand may do to the trail's tables and should not, as "TRUNCATE audit_auditevent"; [] on SQLite."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT privilege || ' ' || relation FROM unnest(%s::text[]) AS relation, "
            "unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS privilege "
            "WHERE to_regclass(relation) IS NOT NULL AND has_table_privilege(current_user, relation, privilege) "
            "ORDER BY 1",
            [list(APPEND_ONLY)],
        )
        return [right for (right,) in cursor.fetchall()]


@dataclass(frozen=True)
class Able:
    """A role that could change what proves the trail, and by which right."""

    role: str
    why: str


def who_could_alter() -> list[Able]:
    """Every role of the server that may sign in and could change rows of the trail past its triggers, or take them away: superusers,
    owners of the tables and whoever is a member of one, and who was granted a right that only the owner needs. An owner and a
    superuser there always are: whose they are is for the office to know, and the exported heads are what keeps them honest."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(_WHO_COULD_ALTER, [list(APPEND_ONLY), list(APPEND_ONLY)])
        return [Able(role, why) for role, why in cursor.fetchall()]


_WHO_COULD_ALTER: Final = """
    SELECT role.rolname,
           CASE WHEN role.rolsuper THEN 'is a superuser'
                WHEN bool_or(pg_has_role(role.oid, relation.relowner, 'MEMBER')) THEN 'owns the tables'
                ELSE 'may ' || string_agg(DISTINCT privilege, ', ' ORDER BY privilege) FILTER (
                    WHERE has_table_privilege(role.oid, relation.oid, privilege)) END
    FROM pg_roles AS role
    CROSS JOIN pg_class AS relation
    CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS privilege
    WHERE role.rolcanlogin AND relation.relkind = 'r' AND relation.relname = ANY (%s)
      AND relation.oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
      AND (role.rolsuper OR pg_has_role(role.oid, relation.relowner, 'MEMBER')
           OR has_table_privilege(role.oid, relation.oid, privilege))
    GROUP BY role.oid, role.rolname, role.rolsuper
    ORDER BY role.rolname
"""


def _make(role: str, login: str) -> Iterable[str]:
    # CREATE ROLE has no IF NOT EXISTS, and roles are of the whole server: another database may have made it.
    return [
        f"DO $$ BEGIN CREATE ROLE {role} {login}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    ]
