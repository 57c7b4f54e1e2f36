"""How each database writes JSON. `%%` is a percent sign: the statements have parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registration.api.lists.fields import Kind


@dataclass(frozen=True)
class Dialect:
    """`object_of` takes pairs of a name and an expression, `row` the same as columns; `joined` texts in an order."""

    object_of: str
    array_of: str
    as_text: str
    list_of: str
    joined: str
    # An expression as what it is in JSON; where a kind is missing, as it comes.
    forms: Mapping[Kind, str]


_POSTGRESQL: Final = Dialect(
    object_of="json_build_object({})",
    array_of="json_build_array({})::text",
    as_text="{}::text",
    list_of="COALESCE((SELECT json_agg({item} ORDER BY {order}) FROM {source} WHERE {condition}), '[]'::json)",
    joined="string_agg(item, ',' ORDER BY place {direction})",
    forms={
        Kind.INSTANT: """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        Kind.TIME_OF_DAY: "to_char({}, 'HH24:MI')",
        Kind.DECIMAL: "({})::numeric(20,2)::text",
    },
)
# Its JSON1 functions take no ORDER BY before 3.44; a subquery's order is kept where group_concat and json_group_array use it.
_SQLITE: Final = Dialect(
    object_of="json_object({})",
    array_of="json_array({})",
    as_text="{}",
    list_of="json((SELECT json_group_array(json(item)) FROM (SELECT {item} AS item FROM {source} WHERE {condition} "
    "ORDER BY {order})))",
    joined="group_concat(item, ',')",
    forms={
        Kind.BOOLEAN: "json(CASE WHEN {} THEN 'true' ELSE 'false' END)",
        Kind.INSTANT: "(replace(substr({0}, 1, 19), ' ', 'T') || '.' || substr(substr({0}, 21) || '000000', 1, 6) || 'Z')",
        Kind.TIME_OF_DAY: "substr({}, 1, 5)",
        Kind.DECIMAL: "printf('%%.2f', {})",
        Kind.JSON: "json({})",
    },
)

DIALECTS: Final[Mapping[str, Dialect]] = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
