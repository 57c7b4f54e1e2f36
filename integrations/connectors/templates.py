"""Operation templates: what an administrator writes where there is no connector in code for a system's operations.

`{card_number}` and the other fields of the operation's input are filled in: in a path encoded for it, in a query or body as
they are. What comes out is found by JMESPath, field by field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import jmespath
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from integrations.connectors.operations import OPERATIONS, AccountFound, RemoteAccount
from integrations.connectors.pagination import check_expression

_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
NOT_FOUND: Final = 404


class OperationTemplate(BaseModel):
    """One operation: the request that does it, and where in the answer its result stands.

    `body` is any JSON; a member whose text is one placeholder alone is left out where its value is empty. `account` leads to
    the account in the answer (null: there is none), `fields` from there to its fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, Field(max_length=500)]
    query: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    account: Annotated[str, AfterValidator(check_expression)] = "@"
    fields: dict[str, Annotated[str, AfterValidator(check_expression)]] = Field(
        default_factory=lambda: {"remote_id": "id"}
    )

    def address(self, values: Mapping[str, str]) -> str:
        """The path with the values in it, each encoded as one segment."""
        return _PLACE.sub(lambda found: quote(values[found[1]], safe=""), self.path)

    def params(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: _filled(text, values) for name, text in self.query.items()}

    def content(self, values: Mapping[str, str]) -> bytes:
        return b"" if self.body is None else orjson.dumps(_filled_in(self.body, values))

    def result(self, answer: Any, values: Mapping[str, str]) -> AccountFound:
        """The account that an answer has. Raises ValueError where it has one without a name of its own."""
        account = jmespath.search(self.account, answer)
        if account is None or account == []:
            return AccountFound()
        found = {name: jmespath.search(expression, account) for name, expression in self.fields.items()}
        if found.get("remote_id") in (None, ""):
            raise ValueError("the account in the answer has no name of its own (remote_id)")
        is_open = found.pop("is_open", True)
        texts = {name: str(value) for name, value in found.items() if value is not None}
        return AccountFound(
            account=RemoteAccount.model_validate(
                {"card_number": values["card_number"], **texts, "is_open": bool(is_open)}
            )
        )

    def check(self, operation: str) -> None:
        """Raise ValueError for a placeholder or field that the operation does not have."""
        known = set(OPERATIONS[operation].Input.model_fields)
        used = set(_PLACE.findall(orjson.dumps([self.path, self.query, self.body]).decode()))
        if unknown := sorted(used - known):
            raise ValueError(
                f"{operation}: there is no {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        if strange := sorted(self.fields.keys() - RemoteAccount.model_fields.keys()):
            raise ValueError(f"{operation}.fields: an account has no {', '.join(strange)}")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: values[found[1]], text)


def _filled_in(part: Any, values: Mapping[str, str]) -> Any:
    """A JSON value with the values in its texts; a member that would be empty is left out: nobody's address is ""."""
    if isinstance(part, str):
        return _filled(part, values)
    if isinstance(part, list):
        return [_filled_in(each, values) for each in part]
    if isinstance(part, dict):
        filled = {name: _filled_in(each, values) for name, each in part.items()}
        return {name: each for name, each in filled.items() if each != "" or part[name] == ""}
    return part
