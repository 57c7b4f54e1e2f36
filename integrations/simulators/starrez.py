"""StarRez: `POST /StarRezREST/services/select/TABLE.json`, pages by the index of their first row, HTTP Basic.

It takes what the vendor's description of StarRez REST v1 takes, and refuses the rest: a body with `_pageIndex` and
`_pageSize` (one of seven), columns by their names and types, days and moments with an operator, nothing else. Where nothing
is found it answers 404, unless `_returnEmptyArrayOnNoResult` asks for an empty list. Refusals are lists of descriptions.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import ge, gt, le, lt
from random import Random
from typing import Any, ClassVar, Final

from integrations.simulators.faults import Strikes, Window
from integrations.simulators.feed import Feed, Record
from integrations.simulators.parameters import NotSo
from integrations.simulators.starrez_tables import TABLES, Column, booking, campus, is_of
from integrations.simulators.system import Call, Reply, reply

USERNAME: Final = "housing-sync"
TOKEN: Final = "demo-starrez-token"  # noqa: S105 - of a simulated system, printed in the docs
SERVICES: Final = "/StarRezREST/services"
PAGE_SIZES: Final = (1, 5, 10, 50, 100, 500, 1000)
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "GREATERTHAN": gt,
    "LESSTHAN": lt,
    "GREATERTHANOREQUALTO": ge,
    "LESSTHANOREQUALTO": le,
}


class StarRez(Feed):
    name: ClassVar[str] = "starrez"
    path: ClassVar[str] = f"{SERVICES}/select/Booking.json"
    has_token_endpoint: ClassVar[bool] = False

    def make(self, index: int, dice: Random) -> Record:
        return booking(index, self.students, dice)

    @cached_property
    def tables(self) -> dict[str, list[Record]]:
        """Every table but the bookings, which are `records`."""
        return campus(self.students)

    def rows(self, table: str) -> list[Record]:
        """The rows of a table, in the order of their numbers."""
        return self.records if table == "Booking" else self.tables[table]

    def is_about_records(self, call: Call) -> bool:
        """Faults strike wherever rows are asked for."""
        return _table(call) is not None

    def serve(self, call: Call, strikes: Strikes) -> Reply:
        table = _table(call)
        if table is None:
            return Reply(200, b"")
        try:
            asked = _checked(table, call.body)
        except NotSo as error:
            return _refusal(400, str(error))
        found = _found(table, self.rows(table), asked)
        if not found and not asked.get("_returnEmptyArrayOnNoResult", False):
            return _refusal(404, "No records found.")
        window = strikes.moved(Window(asked["_pageIndex"], asked["_pageSize"]))
        return reply(200, window.shown(found))

    def refused(self, call: Call, strikes: Strikes) -> Reply | None:
        is_test = (call.method, call.path) == ("GET", f"{SERVICES}/testConnection")
        table = _table(call)
        if table is None and not is_test:
            return _refusal(404, f"There is no such service; tables are at {SERVICES}/select/TABLE.json.")
        if table is not None and call.method != "POST":
            return _refusal(405, "A table is read by POST.", {"Allow": "POST"})
        if not self.lets_in(call, strikes):
            return _refusal(401, "Valid credentials are needed.", {"WWW-Authenticate": self.challenge(call)})
        return None

    def knows(self, authorization: str) -> bool:
        pair = base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode()
        return authorization == f"Basic {pair}"

    def challenge(self, call: Call) -> str:
        return 'Basic realm="StarRez"'


def _table(call: Call) -> str | None:
    name = call.path.removeprefix(f"{SERVICES}/select/").removesuffix(".json")
    return name if name in TABLES and call.path == f"{SERVICES}/select/{name}.json" else None


def _refusal(status: int, words: str, headers: Mapping[str, str] | None = None) -> Reply:
    return reply(status, [{"description": words}], headers)


# --- what is asked ----------------------------------------------------------------------------------------


def _checked(table: str, body: bytes) -> dict[str, Any]:
    """What a body asks for. Raises NotSo for what the vendor's description does not have."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise NotSo("The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise NotSo("The body is not an object.")
    for name in ("_pageIndex", "_pageSize"):
        if name not in asked:
            raise NotSo(f"{name} is required.")
    for name, value in asked.items():
        if name in _CONTROLS:
            _CONTROLS[name](table, value)
        else:
            _check_condition(table, name, value)
    return asked


def _check_index(table: str, value: Any) -> None:
    if not is_of("whole", value) or value < 0:
        raise NotSo("_pageIndex is a whole number from 0: the index of the first record.")


def _check_size(table: str, value: Any) -> None:
    if not is_of("whole", value) or value not in PAGE_SIZES:
        raise NotSo(f"_pageSize is one of {', '.join(map(str, PAGE_SIZES))}.")


def _check_order(table: str, value: Any) -> None:
    if not isinstance(value, str) or any(name not in TABLES[table] for name in value.split(",")):
        raise NotSo("_orderby names columns, separated by commas without spaces.")


def _check_flag(table: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise NotSo("_returnEmptyArrayOnNoResult is true or false.")


_CONTROLS: Final[dict[str, Callable[[str, Any], None]]] = {
    "_pageIndex": _check_index,
    "_pageSize": _check_size,
    "_orderby": _check_order,
    "_returnEmptyArrayOnNoResult": _check_flag,
}


def _check_condition(table: str, name: str, value: Any) -> None:
    column = TABLES[table].get(name)
    if column is None:
        raise NotSo(f"{table} has no column {name}.")
    if column != "moment":
        if not is_of(column, value):
            raise NotSo(f"{name} is a {column}.")
        return
    if not isinstance(value, dict) or value.keys() != {"Value", "_operator"}:
        raise NotSo(f'{name} takes {{"Value": ..., "_operator": ...}}.')
    if value["_operator"] not in _OPERATORS or _moment(value["Value"]) is None:
        raise NotSo(f"{name} takes a moment and one of {', '.join(_OPERATORS)}.")


# --- what is found ----------------------------------------------------------------------------------------


def _found(table: str, rows: list[Record], asked: Mapping[str, Any]) -> list[Record]:
    """The rows that fulfil every condition, in the order that is asked for."""
    columns = TABLES[table]
    for name, value in asked.items():
        if name in columns:
            rows = [row for row in rows if _fulfils(columns[name], row.get(name), value)]
    order = asked.get("_orderby", "").split(",")
    if order in ([""], [next(iter(columns))]):  # rows lie in the order of their numbers
        return rows
    return sorted(rows, key=lambda row: [(row.get(name) is not None, str(row.get(name))) for name in order])


def _fulfils(column: Column, value: Any, condition: Any) -> bool:
    if column != "moment":
        return bool(value == condition)
    moment = _moment(value)
    return moment is not None and _OPERATORS[condition["_operator"]](moment, _moment(condition["Value"]))


def _moment(value: Any) -> datetime.datetime | None:
    """A moment without an offset; None for what is none."""
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is None else None
