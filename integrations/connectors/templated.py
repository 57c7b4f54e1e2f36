"""Connectors whose operations an administrator has written, as templates in the connection's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from integrations.connectors.base import Connector, ConnectorSettings, decoded
from integrations.connectors.operations import (
    DEPROVISION_ACCOUNT,
    LOOK_UP_ACCOUNT,
    OPERATIONS,
    PROVISION_ACCOUNT,
    REOPEN_ACCOUNT,
    AccountFound,
    CardHolder,
    CardNumber,
    RemoteAccount,
)
from integrations.connectors.templates import NOT_FOUND, OperationTemplate
from integrations.models import Connection
from integrations.transports.errors import NotUnderstood
from integrations.transports.http import HttpTransport, Request


class TemplateSettings(ConnectorSettings):
    """What the system can be asked to do: a template for each operation."""

    operations: dict[str, OperationTemplate] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _are_operations(self) -> TemplateSettings:
        for name, template in self.operations.items():
            if name not in OPERATIONS:
                raise ValueError(f"operations: there is no {name}; there are {', '.join(sorted(OPERATIONS))}")
            template.check(name)
        return self


class TemplatedOperations(Connector):
    """Performs the operations that its connection has a template for, and says that it can do no others."""

    Settings: ClassVar[type[ConnectorSettings]] = TemplateSettings

    @classmethod
    def operations_of(cls, connection: Connection) -> frozenset[str]:
        return frozenset(TemplateSettings.model_validate(connection.settings).operations)

    def provision_account(self, transport: HttpTransport, holder: CardHolder) -> RemoteAccount:
        return self._made(transport, PROVISION_ACCOUNT.name, holder)

    def reopen_account(self, transport: HttpTransport, holder: CardHolder) -> RemoteAccount:
        return self._made(transport, REOPEN_ACCOUNT.name, holder)

    def deprovision_account(self, transport: HttpTransport, wanted: CardNumber) -> AccountFound:
        return self._answer(transport, DEPROVISION_ACCOUNT.name, wanted)

    def look_up_account(self, transport: HttpTransport, wanted: CardNumber) -> AccountFound:
        return self._answer(transport, LOOK_UP_ACCOUNT.name, wanted, accepts=frozenset({NOT_FOUND}))

    def _made(self, transport: HttpTransport, operation: str, holder: CardHolder) -> RemoteAccount:
        found = self._answer(transport, operation, holder).account
        if found is None:
            raise NotUnderstood("the answer has no account")
        return found

    def _answer(
        self,
        transport: HttpTransport,
        operation: str,
        arguments: CardHolder | CardNumber,
        *,
        accepts: frozenset[int] = frozenset(),
    ) -> AccountFound:
        """Do what the operation's template says, and find the account in the answer; an answer without a body has none."""
        template, values = self._templates[operation], arguments.model_dump()
        headers = {"Content-Type": "application/json"} if template.body is not None else {}
        response = transport.exchange(
            Request(
                f"{self.connection.base_url.rstrip('/')}/{template.address(values).lstrip('/')}",
                template.method,
                params=template.params(values),
                headers={**headers, **self.connection.secrets.get("headers", {})},
                auth=self.auth,
                body=template.content(values),
                accepts=accepts,
            )
        )
        if response.status in accepts or not response.body:
            return AccountFound()
        try:
            return template.result(decoded(response.body), values)
        except ValueError as error:
            raise NotUnderstood(str(error)) from None

    @property
    def _templates(self) -> dict[str, OperationTemplate]:
        return TemplateSettings.model_validate(self.connection.settings).operations
