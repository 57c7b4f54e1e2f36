"""A library's Koha: patrons over `/api/v1/patrons`, with tokens of `/api/v1/oauth/token`.

It refuses what Koha refuses: an unknown key (400, in the shape of its OpenAPI layer), a missing one, a library or category
that does not exist, a card number or login that is taken (409 with `conflict`), and it searches for parts of values unless
it is told `_match=exact`. A patron that is read has more keys than may be written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from integrations.simulators.faults import Strikes
from integrations.simulators.feed import Record
from integrations.simulators.system import Call, Reply, System, reply
from integrations.simulators.tokens import CLIENT_ID, CLIENT_SECRET, Answer, TokenEndpoint

LIBRARIES: Final = ("MAIN", "LAW")
CATEGORIES: Final = ("STUDENT", "STAFF")
REQUIRED: Final = ("surname", "library_id", "category_id")
WRITABLE: Final = frozenset(
    {
        *(
            "cardnumber",
            "userid",
            "surname",
            "firstname",
            "middle_name",
            "preferred_name",
            "email",
            "phone",
            "mobile",
        ),
        *("address", "address2", "city", "state", "postal_code", "country", "date_of_birth", "date_enrolled"),
        *("expiry_date", "date_renewed", "statistics_1", "statistics_2", "staff_notes", "opac_notes"),
        *(
            "incorrect_address",
            "patron_card_lost",
            "protected",
            "lang",
            "sms_number",
            "library_id",
            "category_id",
        ),
    }
)
UNIQUE: Final = ("cardnumber", "userid")
FIRST_ID: Final = 51


class KohaTokens(TokenEndpoint):
    """The token endpoint as Koha has it: the client proves itself in the body alone, and errors have one member."""

    path: str = "/api/v1/oauth/token"  # type: ignore[misc]

    def answer(self, method: str, headers: Mapping[str, str], body: bytes) -> Answer:
        status, value, more = super().answer(method, headers, body)
        if status == 200 and "authorization" not in headers:  # noqa: PLR2004
            return status, value, more
        if value.get("error") == "unsupported_grant_type":
            return 400, {"error": "Unimplemented grant type"}, {}
        return 403, {"error": "wrong_credentials"}, {}


class Koha(System):
    name: ClassVar[str] = "koha"
    path: ClassVar[str] = "/api/v1/patrons"
    is_changing: ClassVar[bool] = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.Lock()
        self.patrons: dict[int, Record] = {}
        # What a patron owes and has borrowed, by card number.
        self.debts: dict[str, float] = {}
        self.checkouts: dict[str, int] = {}
        # Method and card number of each change that was made, in order.
        self.changes: list[tuple[str, str]] = []

    def add(self, **values: Any) -> Record:
        """A patron whom somebody has added at the desk."""
        with self._lock:
            return self._insert({"library_id": "MAIN", "category_id": "STUDENT", **values})

    def make_tokens(self, seconds: int) -> TokenEndpoint:
        return KohaTokens(self.seed, seconds)

    def is_about_records(self, call: Call) -> bool:
        return call.path.startswith(self.path)

    def refused(self, call: Call, strikes: Strikes) -> Reply | None:
        if self.lets_in(call, strikes):
            return None
        return reply(401, {"error": "Authentication failure."}, {"WWW-Authenticate": self.challenge(call)})

    def serve(self, call: Call, strikes: Strikes) -> Reply:
        with self._lock:
            return self._route(call)

    def _route(self, call: Call) -> Reply:
        place = call.path.removeprefix(self.path).strip("/")
        if not call.path.startswith(self.path) or (place and not place.isdecimal()):
            return reply(404, {"error": "Not found"})
        patron = self.patrons.get(int(place)) if place else None
        if place and patron is None:
            return reply(404, {"error": "Patron not found."})
        if call.method == "GET":
            return reply(200, self._read(call, patron)) if patron else self._search(call)
        if (call.method, bool(patron)) not in (("POST", False), ("PUT", True)):
            return reply(405, {"error": "Method not allowed"})
        return self._write(call, patron)

    def _search(self, call: Call) -> Reply:
        sought = {name: value for name, value in call.query if not name.startswith("_")}
        if unknown := sorted(sought.keys() - WRITABLE - {"patron_id"}):
            return _malformed((f"/{name}", "Malformed query string") for name in unknown)
        is_exact = dict(call.query).get("_match", "contains") == "exact"
        found = [patron for patron in self.patrons.values() if _matches(patron, sought, is_exact=is_exact)]
        shown = [self._read(call, patron) for patron in found]
        return reply(200, shown, {"X-Total-Count": str(len(found))})

    def _read(self, call: Call, patron: Record) -> Record:
        """A patron as GET gives it: with keys that may not be written."""
        card = str(patron["cardnumber"])
        wanted = {part.strip() for part in call.headers.get("x-koha-embed", "").split(",")}
        embedded = {"checkouts_count": self.checkouts.get(card, 0)} if "checkouts+count" in wanted else {}
        if "account_balance" in wanted:
            embedded["account_balance"] = self.debts.get(card, 0)  # type: ignore[assignment]
        return {**dict.fromkeys(WRITABLE), **patron, "restricted": False, "anonymized": False, **embedded}

    def _write(self, call: Call, patron: Record | None) -> Reply:
        try:
            value = json.loads(call.body)
        except ValueError:
            value = None
        if refused := self._refused_value(value, patron):
            return refused
        self.changes.append((call.method, str(value.get("cardnumber"))))
        if patron is None:
            made = self._insert(value)
            return reply(201, self._read(call, made), {"Location": f"{self.path}/{made['patron_id']}"})
        patron_id = patron["patron_id"]
        patron.clear()
        patron.update({**value, "patron_id": patron_id})
        return reply(200, self._read(call, patron))

    def _refused_value(self, value: Any, patron: Record | None) -> Reply | None:
        """What is wrong with a patron that is to be written; None where nothing is."""
        if not isinstance(value, dict):
            return _malformed([("/body", "Expected object.")])
        if faults := _faults_of(value):
            return _malformed(faults)
        if value["library_id"] not in LIBRARIES:
            return reply(400, {"error": "Given library_id does not exist"})
        if value["category_id"] not in CATEGORIES:
            return reply(400, {"error": "Given category_id does not exist"})
        if conflict := self._conflict(value, patron):
            return reply(
                409, {"error": "A patron record matching these details already exists", "conflict": conflict}
            )
        return None

    def _insert(self, value: Mapping[str, Any]) -> Record:
        patron_id = FIRST_ID + len(self.patrons)
        given = {name: part for name, part in value.items() if part is not None}
        self.patrons[patron_id] = {"cardnumber": f"auto-{patron_id}", **given, "patron_id": patron_id}
        return self.patrons[patron_id]

    def _conflict(self, value: Mapping[str, Any], patron: Record | None) -> str:
        others = [other for other in self.patrons.values() if other is not patron]
        taken = [
            name for name in UNIQUE if value.get(name) and any(o.get(name) == value[name] for o in others)
        ]
        return next(iter(taken), "")


def _matches(patron: Record, sought: Mapping[str, str], *, is_exact: bool) -> bool:
    pairs = [(str(patron.get(name) or "").casefold(), value.casefold()) for name, value in sought.items()]
    return all(value == kept if is_exact else value in kept for kept, value in pairs)


def _faults_of(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    unknown = [("/body", f"Properties not allowed: {name}.") for name in sorted(value.keys() - WRITABLE)]
    missing = [(f"/body/{name}", "Missing property.") for name in REQUIRED if not value.get(name)]
    wrong = [
        (f"/body/{name}", "Expected string - got object.")
        for name, part in value.items()
        if name in WRITABLE and isinstance(part, dict | list)
    ]
    return [*unknown, *missing, *wrong]


def _malformed(faults: Any) -> Reply:
    """The other shape of an error: that of the layer which checks a call against the API's description."""
    return reply(
        400, {"errors": [{"message": words, "path": place} for place, words in faults], "status": 400}
    )


def connection_document(base_url: str) -> dict[str, Any]:
    """The document of a connection to this system, as an administrator would write it."""
    return {
        "slug": "library",
        "name": "Library",
        "connector": "koha",
        "base_url": base_url,
        "auth": {"type": "oauth2", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
        "schedule": "manual",
        "settings": {"library_id": "MAIN", "category_id": "STUDENT"},
    }
