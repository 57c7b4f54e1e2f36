"""The operations that connectors may be asked to do, each with what goes in and what comes out."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Operation(Generic[In, Out]):
    """What is done, by name; a connector that can do it has a method of that name."""

    name: str
    Input: type[In]
    Output: type[Out]


class CardHolder(Part):
    """Who an account is for. The card number is the student number."""

    card_number: str
    given_name: str
    family_name: str
    email: str


class CardNumber(Part):
    card_number: str


class RemoteAccount(Part):
    """An account as the library has it. `remote_id` is the library's own name for it; texts that it does not tell are
    empty. `expires_on` is its last day, where it has one."""

    remote_id: str
    card_number: str = ""
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    is_open: bool = True
    expires_on: datetime.date | None = None


class AccountFound(Part):
    """What a look-up came to: no account at all is an answer."""

    account: RemoteAccount | None = None


class Event(Part):
    """Something that happened, for whoever wants to be told. Who is told twice knows it by the id."""

    id: str
    type: str
    occurred_at: datetime.datetime
    data: dict[str, Any]


class Acknowledged(Part):
    """That an event was taken, and the status that said so."""

    status: int


PROVISION_ACCOUNT: Final = Operation("provision_account", CardHolder, RemoteAccount)
# Opens an account that exists, whatever state it is in.
REOPEN_ACCOUNT: Final = Operation("reopen_account", CardHolder, RemoteAccount)
DEPROVISION_ACCOUNT: Final = Operation("deprovision_account", CardNumber, AccountFound)
LOOK_UP_ACCOUNT: Final = Operation("look_up_account", CardNumber, AccountFound)
DELIVER_EVENT: Final = Operation("deliver_event", Event, Acknowledged)
# What an administrator may write a template for.
OPERATIONS: Final = {
    operation.name: operation
    for operation in (PROVISION_ACCOUNT, REOPEN_ACCOUNT, DEPROVISION_ACCOUNT, LOOK_UP_ACCOUNT)
}
# What a library system has to be able to do.
LIBRARY_OPERATIONS: Final = frozenset(
    operation.name for operation in (PROVISION_ACCOUNT, DEPROVISION_ACCOUNT, LOOK_UP_ACCOUNT)
)
