"""How each database writes JSON. `%%` is a percent sign: the statements have parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registration.api.lists.fields import Kind


@dataclass(frozen=True)
class Dialect:
    """`object_of` takes pairs of a name and a value; `nested` is a list of the rows of a subquery; `joined` and `listed` put
    the rows of a page together, in the order in which its subquery has them."""

    object_of: str
    list_of_keys: str
    nested: str
    joined: str
    listed: str
    # An expression as what it is in JSON; where a kind is missing, as it comes.
    forms: Mapping[Kind, str]

    def form(self, kind: Kind, sql: str) -> str:
        """An expression as a value of JSON."""
        return self.forms.get(kind, "{0}").format(sql)


# An aggregate over a subquery takes its rows in the subquery's order (PostgreSQL's manual, 9.21), so that a page need not be
# sorted once more. chr(30) stands in no JSON: what is below a space is written as an escape there (RFC 8259, 7).
_POSTGRESQL: Final = Dialect(
    object_of="json_build_object({})::text",
    list_of_keys="json_build_array({})::text",
    nested="COALESCE((SELECT json_agg(row_to_json(nested)) FROM ({rows}) nested), '[]')",
    joined="string_agg({}, chr(30))",
    listed="json_agg({})",
    forms={
        Kind.INSTANT: """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        Kind.TIME_OF_DAY: "left({0}::text, 5)",
        Kind.DECIMAL: "({0})::numeric(20,2)::text",
    },
)
# SQLite keeps a subquery's order for group_concat and json_group_array (sqlite.org/optoverview, 'omit-order-by').
_SQLITE: Final = Dialect(
    object_of="json_object({})",
    list_of_keys="json_array({})",
    nested="(SELECT json_group_array(json_object({pairs})) FROM ({rows}) nested)",
    joined="group_concat({}, char(30))",
    listed="json_group_array({})",
    forms={
        Kind.BOOLEAN: "json(CASE WHEN {0} THEN 'true' ELSE 'false' END)",
        Kind.INSTANT: "(replace(substr({0}, 1, 19), ' ', 'T') || '.' || substr(substr({0}, 21) || '000000', 1, 6) || 'Z')",
        Kind.TIME_OF_DAY: "substr({0}, 1, 5)",
        Kind.DECIMAL: "printf('%%.2f', {0})",
        Kind.JSON: "json({0})",
    },
)

DIALECTS: Final[Mapping[str, Dialect]] = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
