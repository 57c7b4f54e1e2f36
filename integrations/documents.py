"""The connection document: the one JSON form of a connection, for commands, the admin, presets and the API.

Secrets are accepted and never given back. docs/connections.md describes every field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from integrations.connectors.registry import CONNECTORS
from integrations.connectors.rest import Endpoint
from integrations.datasets import DATASETS
from integrations.models.connection import MAX_INTERVAL_MINUTES, MIN_INTERVAL_MINUTES
from integrations.sync.guards import GuardLimits
from integrations.sync.mapping import FieldMapping

MINUTES_OF_A_DAY = 1440
MAX_DEPTH = 20
TOO_DEEP = "The document is nested deeper than any connection is."


class DocumentRefused(Exception):
    """A connection document cannot be used; each fault is a sentence that names its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _in_a_header(value: str) -> str:
    # RFC 9110 section 5.5, in the one encoding that http.client writes.
    if not all(" " <= character <= "~" or "\xa0" <= character <= "\xff" for character in value):
        raise ValueError("has a line break or another character that no HTTP header carries")
    return value


def _on_one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("is a text on one line")
    return value


HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderText = Annotated[str, AfterValidator(_in_a_header)]
Secret = Annotated[str, Field(min_length=1), AfterValidator(_in_a_header)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoAuth(_Part):
    type: Literal["none"] = "none"


class ApiKeyAuth(_Part):
    type: Literal["api_key"]
    key: Secret | None = None
    name: HeaderName = "X-API-Key"
    place: Literal["header", "query"] = Field(default="header", alias="in")


class BearerAuth(_Part):
    type: Literal["bearer"]
    token: Secret | None = None


class BasicAuth(_Part):
    type: Literal["basic"]
    username: str | None = None
    password: str | None = None


Auth = Annotated[NoAuth | ApiKeyAuth | BearerAuth | BasicAuth, Field(discriminator="type")]


class Interval(_Part):
    every_minutes: int = Field(default=MINUTES_OF_A_DAY, ge=MIN_INTERVAL_MINUTES, le=MAX_INTERVAL_MINUTES)


class Manual(_Part):
    manual: Literal[True]


class TimeoutSettings(_Part):
    """In seconds; `slow_ms` in milliseconds is kept for the circuit breaker."""

    connect: float | None = Field(default=None, gt=0, le=60)
    read: float | None = Field(default=None, gt=0, le=600)
    total: float | None = Field(default=None, gt=0, le=3600)
    slow_ms: int | None = Field(default=None, gt=0)


class Limits(_Part):
    """How often and how many at once the system may be asked; of its host, by all connections together."""

    per_minute: int | None = Field(default=None, ge=1, le=100_000)
    concurrent: int | None = Field(default=None, ge=1, le=1_000)
    host_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    host_concurrent: int | None = Field(default=None, ge=1, le=1_000)


class DatasetDocument(_Part):
    endpoint: Endpoint
    params: dict[str, str] = Field(default_factory=dict)
    mapping: dict[str, FieldMapping]

    @model_validator(mode="before")
    @classmethod
    def _gather_endpoint(cls, value: object) -> object:
        """The document writes the endpoint's fields beside params and mapping."""
        if isinstance(value, str):
            value = {"path": value}
        if not isinstance(value, dict) or "endpoint" in value:
            return value
        own = {name: value[name] for name in ("params", "mapping") if name in value}
        return {**own, "endpoint": {name: part for name, part in value.items() if name not in own}}

    @field_validator("params", mode="before")
    @classmethod
    def _as_texts(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: str(part) if isinstance(part, int | float) and not isinstance(part, bool) else part
            for name, part in value.items()
        }


class ConnectionDocument(_Part):
    slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    name: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_on_one_line)]
    connector: str = "rest"
    enabled: bool = True
    base_url: Annotated[str, Field(max_length=500)]
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict)
    auth: Auth = Field(default_factory=NoAuth)
    schedule: Interval | Manual = Field(default_factory=Interval)
    datasets: dict[str, DatasetDocument] = Field(default_factory=dict)
    guards: GuardLimits = Field(default_factory=GuardLimits)
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    limits: Limits = Field(default_factory=Limits)
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("schedule", mode="before")
    @classmethod
    def _manual_word(cls, value: object) -> object:
        return {"manual": True} if value == "manual" else value

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        url = TypeAdapter(HttpUrl).validate_python(value)
        if url.username or url.password:
            raise ValueError("credentials belong into auth, not into the address")
        if url.query or url.fragment:
            raise ValueError("parameters belong into the dataset's params, not into the address")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _names_are_known(self) -> ConnectionDocument:
        connector = CONNECTORS.get(self.connector)
        if connector is None:
            raise ValueError(
                f"connector: there is no {self.connector!r}; there are {', '.join(sorted(CONNECTORS))}"
            )
        try:
            connector.Settings.model_validate(self.settings)
        except ValidationError as error:
            raise ValueError(f"settings.{_fault(error.errors(include_input=False)[0])}") from None
        for name, declared in self.datasets.items():
            if name not in connector.datasets:
                known = ", ".join(sorted(connector.datasets))
                raise ValueError(f"datasets.{name}: this connector pulls {known}")
            _check_fields(name, declared)
        return self


def _check_fields(name: str, declared: DatasetDocument) -> None:
    fields = DATASETS[name].Record.model_fields
    unknown = sorted(declared.mapping.keys() - fields.keys())
    missing = sorted(
        field for field, info in fields.items() if info.is_required() and field not in declared.mapping
    )
    if unknown:
        raise ValueError(f"datasets.{name}.mapping: there is no field {', '.join(unknown)}")
    if missing:
        raise ValueError(f"datasets.{name}.mapping: {', '.join(missing)} must be mapped")


# The camelCase names of older installations, wherever they stand in a document.
_OLDER_NAMES = {
    "baseUrl": "base_url",
    "endpoints": "datasets",
    "pageParam": "page_param",
    "sizeParam": "size_param",
    "pageSize": "size",
    "cursorParam": "cursor_param",
    "nextUrl": "next",
    "fieldMapping": "mapping",
    "recordsPath": "records",
}
_OLDER_AUTH = {"apiKey": "api_key", "api-key": "api_key", "apikey": "api_key"}


def parse_document(content: object) -> ConnectionDocument:
    """Return the document that `content` (decoded JSON) is. Raises DocumentRefused with every fault in words."""
    if not isinstance(content, dict):
        raise DocumentRefused(["A connection document is a JSON object."])
    if is_too_deep(content):
        raise DocumentRefused([TOO_DEEP])
    if unstorable := list(_unstorable(content, "")):
        raise DocumentRefused(unstorable)
    try:
        return ConnectionDocument.model_validate(_modernised(content))
    except ValidationError as error:
        raise DocumentRefused(
            [_fault(part) for part in error.errors(include_input=False, include_url=False)]
        ) from None


def is_too_deep(content: object) -> bool:
    """Whether lists and objects lie in each other deeper than in any document. Counted without recursion, which is what
    nesting of a thousand levels breaks."""
    depth, level = 0, [content]
    while level := [
        part
        for value in level
        for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    ]:
        depth += 1
    return depth > MAX_DEPTH


def _unstorable(value: object, place: str) -> Iterator[str]:
    """A fault for each text that no database takes, wherever it stands: NUL characters and broken Unicode."""
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        yield f"{place}: has a NUL character or broken Unicode in it"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        inner = f"{place}.{name}" if place else str(name)
        yield from _unstorable(str(name), inner)
        yield from _unstorable(part, inner)


def _modernised(content: dict[str, Any]) -> dict[str, Any]:
    """The same document in today's names."""
    document = {_OLDER_NAMES.get(name, name): value for name, value in content.items()}
    kind, key = document.pop("authType", None), document.pop("apiKey", None)
    if kind is not None or key is not None:
        kind = _OLDER_AUTH.get(str(kind), kind) or "api_key"
        secret = {"bearer": "token", "api_key": "key"}.get(str(kind))
        document.setdefault("auth", {"type": kind, **({secret: key} if secret and key is not None else {})})
    if "syncInterval" in document:
        document.setdefault("schedule", {"every_minutes": document.pop("syncInterval")})
    datasets = document.get("datasets")
    if isinstance(datasets, dict):
        document["datasets"] = {name: _modernised_dataset(part) for name, part in datasets.items()}
    return document


def _modernised_dataset(part: object) -> object:
    if not isinstance(part, dict):
        return part
    part = {_OLDER_NAMES.get(name, name): value for name, value in part.items()}
    pagination = part.get("pagination")
    if isinstance(pagination, dict):
        part["pagination"] = {_OLDER_NAMES.get(name, name): value for name, value in pagination.items()}
    return part


def _fault(part: Any) -> str:
    steps = [str(step) for step in part["loc"] if step not in ("endpoint", "Interval", "Manual")]
    message = part["msg"].removeprefix("Value error, ")
    return f"{'.'.join(steps)}: {message}" if steps else message
