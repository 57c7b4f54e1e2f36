"""Accounts at the library: opened for whoever is entitled to one, and ended after."""

from __future__ import annotations

import datetime
import unicodedata
from typing import Any, ClassVar, Final

from django.utils import timezone

from integrations.connectors.base import Connector
from integrations.connectors.operations import (
    DEPROVISION_ACCOUNT,
    LIBRARY_OPERATIONS,
    LOOK_UP_ACCOUNT,
    PROVISION_ACCOUNT,
    REOPEN_ACCOUNT,
    CardHolder,
    CardNumber,
    RemoteAccount,
)
from integrations.connectors.registry import operations_of
from integrations.effects.base import Effect, Impossible
from integrations.models import Connection, OutboxMessage
from integrations.transports.errors import ErrorClass, Refused
from registration.models import LibraryAccount, Student
from registration.models.library import PROMISE, RENEWED_BEFORE, LibraryStatus
from registration.operations import note_library_status


def library_connection() -> Connection | None:
    """The connection to the library: the first that can provide accounts, switched off or not; None where there is none."""
    present = Connection.objects.present().order_by("pk")
    return next((one for one in present if operations_of(one) >= LIBRARY_OPERATIONS), None)


class _LibraryEffect(Effect):
    def blocked(self, message: OutboxMessage, reason: str) -> None:
        _note(message, LibraryStatus.BLOCKED, reason)

    def escalated(self, message: OutboxMessage, reason: str) -> None:
        _note(message, LibraryStatus.FAILED, reason)

    def waits_again(self, message: OutboxMessage) -> None:
        _note(message, LibraryStatus.PENDING)


class ProvisionAccount(_LibraryEffect):
    kind: ClassVar[str] = "library.provision"
    label: ClassVar[str] = "Open a library account"
    promised_within: ClassVar[datetime.timedelta | None] = PROMISE

    def bring_about(self, message: OutboxMessage, connector: Connector) -> RemoteAccount:
        """Open the account, or the one that is there already, if it is this student's; renew it, if it would end soon."""
        account = LibraryAccount.objects.select_related("student").get(pk=message.payload["student"])
        holder = _holder(account.student)
        if account.remote_id or message.is_uncertain:
            found = connector.do(LOOK_UP_ACCOUNT, CardNumber(card_number=holder.card_number)).account
            if found is not None:
                return _adopt(connector, holder, found, is_known=found.remote_id == account.remote_id)
        try:
            return connector.do(PROVISION_ACCOUNT, holder)
        except Refused as refusal:
            if refusal.error_class is not ErrorClass.EXISTS:
                raise
        found = connector.do(LOOK_UP_ACCOUNT, CardNumber(card_number=holder.card_number)).account
        if found is None:
            raise Impossible(
                "the library says that there is an account like this, and has none with this card number: somebody else's "
                "account there has this student's login or address"
            )
        return _adopt(connector, holder, found)

    def delivered(self, message: OutboxMessage, result: RemoteAccount) -> None:
        _note(message, LibraryStatus.PROVISIONED, remote_id=result.remote_id, expires_on=result.expires_on)


class DeprovisionAccount(_LibraryEffect):
    kind: ClassVar[str] = "library.deprovision"
    label: ClassVar[str] = "End a library account"

    def bring_about(self, message: OutboxMessage, connector: Connector) -> RemoteAccount | None:
        """End the account, if it is there and this student's; one that is not there is ended."""
        account = LibraryAccount.objects.select_related("student").get(pk=message.payload["student"])
        holder = _holder(account.student)
        found = connector.do(LOOK_UP_ACCOUNT, CardNumber(card_number=holder.card_number)).account
        if found is None or not found.is_open:
            return found
        _check_holder(holder, found, is_known=found.remote_id == account.remote_id)
        return connector.do(DEPROVISION_ACCOUNT, CardNumber(card_number=holder.card_number)).account

    def delivered(self, message: OutboxMessage, result: RemoteAccount | None) -> None:
        _note(message, LibraryStatus.DEPROVISIONED, remote_id=result.remote_id if result else "")


PROVISION: Final = ProvisionAccount()
DEPROVISION: Final = DeprovisionAccount()


def _holder(student: Student) -> CardHolder:
    return CardHolder(
        card_number=student.number,
        given_name=student.given_name,
        family_name=student.family_name,
        email=student.email,
    )


def _adopt(
    connector: Connector, holder: CardHolder, found: RemoteAccount, *, is_known: bool = False
) -> RemoteAccount:
    """Take the account that is there for the student's, and open it anew where it is not open or will not be for long."""
    _check_holder(holder, found, is_known=is_known)
    if found.is_open and not _ends_soon(found):
        return found
    can_reopen = REOPEN_ACCOUNT.name in connector.operations_of(connector.connection)
    return connector.do(REOPEN_ACCOUNT if can_reopen else PROVISION_ACCOUNT, holder)


def _ends_soon(found: RemoteAccount) -> bool:
    return found.expires_on is not None and found.expires_on <= timezone.localdate() + RENEWED_BEFORE


def _check_holder(holder: CardHolder, found: RemoteAccount, *, is_known: bool) -> None:
    """A card number alone proves nothing: it may have been given to somebody else at the desk. Raises Impossible."""
    same_address = bool(holder.email) and _plain(holder.email) == _plain(found.email)
    same_name = (_plain(holder.given_name), _plain(holder.family_name)) == (
        _plain(found.given_name),
        _plain(found.family_name),
    )
    if not (is_known or same_address or same_name):
        raise Impossible(
            "the card number belongs to somebody else at the library: neither name nor e-mail address is the student's. "
            "Compare both records, and correct the one that is wrong"
        )


def _plain(text: str) -> str:
    """A name or address as it compares: in one Unicode form, whatever its case and spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _note(message: OutboxMessage, status: LibraryStatus, reason: str = "", **told: Any) -> None:
    payload = message.payload
    note_library_status(payload["student"], payload["request"], status, reason=reason, **told)
