"""Koha: patrons over its REST API (`/api/v1`, swagger 2.0), by OAuth 2.0 client credentials.

Sources: Koha-Community/Koha, api/v1/swagger/paths/{oauth,patrons}.yaml, definitions/patron.yaml, Koha/REST/V1/Patrons.pm.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson
from django.utils import timezone
from pydantic import Field

from integrations.connectors.base import Connector, ConnectorSettings, decoded
from integrations.connectors.operations import AccountFound, CardHolder, CardNumber, RemoteAccount
from integrations.transports.error_table import ErrorTable, Rule
from integrations.transports.errors import ErrorClass, NotUnderstood, Refused
from integrations.transports.http import HttpTransport, Request

# What GET adds to a patron and PUT does not take: the schema has `additionalProperties: false`.
READ_ONLY: Final = frozenset(
    {
        *("patron_id", "restricted", "anonymized", "updated_on", "last_seen"),
        *(
            "extended_attributes",
            "checkouts_count",
            "overdues_count",
            "account_balance",
            "library",
            "_strings",
        ),
    }
)
# What has to be settled before an account is ended, and how it is told.
OBSTACLES: Final = (("checkouts_count", "items are checked out"), ("account_balance", "fines are owed"))


class KohaSettings(ConnectorSettings):
    library_id: str = Field(min_length=1, description="Code of the library that patrons belong to.")
    category_id: str = Field(min_length=1, description="Code of the patron category of students.")
    valid_days: int = Field(default=1826, ge=1, le=36500, description="For how long an account is opened.")


class KohaConnector(Connector):
    key: ClassVar[str] = "koha"
    label: ClassVar[str] = "Koha"
    operations: ClassVar[frozenset[str]] = frozenset(
        {"provision_account", "reopen_account", "deprovision_account", "look_up_account"}
    )
    Settings: ClassVar[type[ConnectorSettings]] = KohaSettings
    token_path: ClassVar[str] = "/api/v1/oauth/token"  # noqa: S105 - an address
    client_auth: ClassVar[str] = "body"
    shown: ClassVar[frozenset[str]] = frozenset(
        {"cardnumber", "userid", "patron_id", "library_id", "category_id", "expiry_date", "date_enrolled", "date_renewed"}
        | {"checkouts_count", "account_balance", "restricted", "anonymized", "errors", "error", "error_code", "conflict", "message", "path"}
    )  # fmt: skip
    # There are two shapes: {"error", "error_code"?, "conflict"?} and {"errors": [{"message", "path"}]}.
    errors: ClassVar[ErrorTable] = ErrorTable(
        rules=(
            Rule(ErrorClass.EXISTS, status=409, where="conflict", words="there is a patron with this card number or login already"),
            Rule(ErrorClass.BLOCKED, status=409, code="has_checkouts", words="the patron has items checked out"),
            Rule(ErrorClass.BLOCKED, status=409, code="has_debt", words="the patron owes fines"),
            Rule(ErrorClass.BLOCKED, status=409, code="has_guarantees", words="the patron vouches for others"),
            Rule(ErrorClass.BLOCKED, status=409, code="is_protected", words="the patron is protected"),
            Rule(ErrorClass.EXISTS, status=409, words="there is a patron like this already"),
            Rule(ErrorClass.CONFIG, status=400, text="Given library_id does not exist", words="it does not know the library", advice="Correct library_id in the connection's settings."),
            Rule(ErrorClass.CONFIG, status=400, text="Given category_id does not exist", words="it does not know the patron category", advice="Correct category_id in the connection's settings."),
            Rule(ErrorClass.PERMANENT, status=400, where="errors", words="it does not accept a value of the patron", advice="The attempt names the field: correct it on the student's record, and retry."),
            Rule(ErrorClass.CONFIG, status=403, words="our client's patron may not edit patrons", advice="Give it the permission edit_borrowers in Koha."),
        ),
        codes=("error_code",),
    )  # fmt: skip

    def look_up_account(self, transport: HttpTransport, wanted: CardNumber) -> AccountFound:
        patron = self._patron(transport, wanted.card_number)
        return AccountFound(account=_account(patron) if patron else None)

    def provision_account(self, transport: HttpTransport, holder: CardHolder) -> RemoteAccount:
        patron = {"cardnumber": holder.card_number, "userid": holder.card_number, **self._values(holder)}
        return _account(self._send(transport, "POST", "/patrons", patron))

    def reopen_account(self, transport: HttpTransport, holder: CardHolder) -> RemoteAccount:
        patron = self._patron(transport, holder.card_number)
        if patron is None:
            return self.provision_account(transport, holder)
        return _account(self._replace(transport, patron, self._values(holder)))

    def deprovision_account(self, transport: HttpTransport, wanted: CardNumber) -> AccountFound:
        """Let the account expire rather than delete it: that can be taken back."""
        patron = self._patron(transport, wanted.card_number)
        if patron is None or not _account(patron).is_open:
            return AccountFound(account=_account(patron) if patron else None)
        if what := [words for name, words in OBSTACLES if float(patron.get(name) or 0) > 0]:
            raise Refused(f"the account cannot be ended yet: {' and '.join(what)}", error_class=ErrorClass.BLOCKED, status=200, advice="It is tried again every day. The library settles it with the student.")  # fmt: skip
        yesterday = timezone.localdate() - datetime.timedelta(days=1)
        replaced = self._replace(transport, patron, {"expiry_date": yesterday.isoformat()})
        return AccountFound(account=_account(replaced))

    def _values(self, holder: CardHolder) -> dict[str, str]:
        chosen = KohaSettings.model_validate(self.connection.settings)
        expires_on = timezone.localdate() + datetime.timedelta(days=chosen.valid_days)
        told = {"firstname": holder.given_name, "surname": holder.family_name, "email": holder.email}
        return {
            "library_id": chosen.library_id,
            "category_id": chosen.category_id,
            "expiry_date": expires_on.isoformat(),
            **{name: value for name, value in told.items() if value},
        }

    def _patron(self, transport: HttpTransport, card_number: str) -> dict[str, Any] | None:
        """The patron with this card, with what would be in the way of ending it. A search would find "S12" in "S123"."""
        params = {"cardnumber": card_number, "_match": "exact"}
        found = decoded(
            transport.exchange(
                Request(
                    self._address("/patrons"),
                    params=params,
                    headers=self._headers({"x-koha-embed": "checkouts+count,account_balance"}),
                    auth=self.auth,
                )
            ).body
        )
        if not isinstance(found, list) or not all(isinstance(patron, dict) for patron in found):
            raise NotUnderstood("the answer is no list of patrons")
        return next((patron for patron in found if patron.get("cardnumber") == card_number), None)

    def _replace(self, transport: HttpTransport, patron: Mapping[str, Any], values: Mapping[str, str]) -> Any:
        kept = {name: value for name, value in patron.items() if name not in READ_ONLY}
        return self._send(transport, "PUT", f"/patrons/{int(patron['patron_id'])}", {**kept, **values})

    def _send(self, transport: HttpTransport, method: str, path: str, patron: Mapping[str, Any]) -> Any:
        headers = self._headers({"Content-Type": "application/json"})
        request = Request(
            self._address(path), method, headers=headers, auth=self.auth, body=orjson.dumps(patron)
        )
        return decoded(transport.exchange(request).body)

    def _address(self, path: str) -> str:
        return f"{self.connection.base_url.rstrip('/')}/api/v1{path}"

    def _headers(self, own: Mapping[str, str]) -> dict[str, str]:
        return {**self.connection.secrets.get("headers", {}), **own}


def _account(patron: Any) -> RemoteAccount:
    if not isinstance(patron, dict) or not isinstance(patron.get("patron_id"), int):
        raise NotUnderstood("the answer is no patron")
    expires_on = _expiry_of(patron)
    return RemoteAccount(
        remote_id=str(patron["patron_id"]),
        card_number=str(patron.get("cardnumber") or ""),
        given_name=str(patron.get("firstname") or ""),
        family_name=str(patron.get("surname") or ""),
        email=str(patron.get("email") or ""),
        is_open=expires_on is None or expires_on >= timezone.localdate(),
        expires_on=expires_on,
    )


def _expiry_of(patron: Mapping[str, Any]) -> datetime.date | None:
    """The patron's last day (`YYYY-MM-DD`); None for one whose account never ends."""
    written = patron.get("expiry_date")
    try:
        return datetime.date.fromisoformat(str(written)) if written else None
    except ValueError:
        raise NotUnderstood("the day on which the patron's account ends is no day") from None
