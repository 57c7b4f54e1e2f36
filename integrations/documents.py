"""The connection document: the one JSON form of a connection, for commands, the admin, presets and the API.

Secrets are accepted and never given back. docs/connections.md describes every field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from integrations.connectors.addresses import check_address
from integrations.connectors.base import Connector
from integrations.connectors.certificates import check_certificate
from integrations.connectors.credentials import (
    CREDENTIALS,
    Auth,
    Credentials,
    HeaderName,
    HeaderText,
    MutualTlsAuth,
    NoAuth,
    OAuth2Auth,
    SignatureAuth,
)
from integrations.connectors.registry import CONNECTORS
from integrations.connectors.rest import Endpoint
from integrations.datasets import DATASETS
from integrations.models import Connection, Stream
from integrations.models.connection import ConflictPolicy, origin_of
from integrations.models.schedule import MINUTES_OF_A_DAY
from integrations.schedules import ScheduleDocument, schedule_of
from integrations.sync.guards import GuardLimits
from integrations.sync.mapping import FieldMapping
from integrations.transports.egress import allowed_hosts

MAX_DEPTH = 20
HTTP_PORT: Final = 80
TOO_DEEP = "The document is nested deeper than any connection is."


def _slugs() -> frozenset[str]:
    return frozenset(Connection.objects.present().values_list("slug", flat=True))


# What a connector's settings are checked against while somebody writes them, and not each time that they are used.
WRITTEN: Final[dict[str, Any]] = {"connections": _slugs}


class DocumentRefused(Exception):
    """A connection document cannot be used; each fault is a sentence that names its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _on_one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("is a text on one line")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    params: dict[str, str | None] = Field(default_factory=dict)
    # What the connector knows of its vendor's records comes behind it, field by field.
    mapping: dict[str, FieldMapping] = Field(default_factory=dict)

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
    base_url: Annotated[str, Field(max_length=500), AfterValidator(check_address)]
    # Of a header, and of a parameter, null stands for the value that is kept.
    headers: dict[HeaderName, HeaderText | None] = Field(default_factory=dict)
    auth: Auth = Field(default_factory=NoAuth)
    schedule: ScheduleDocument = Field(
        default_factory=lambda: ScheduleDocument(every_minutes=MINUTES_OF_A_DAY)
    )
    datasets: dict[str, DatasetDocument] = Field(default_factory=dict)
    guards: GuardLimits = Field(default_factory=GuardLimits)
    conflicts: ConflictPolicy = ConflictPolicy.HOLD
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    limits: Limits = Field(default_factory=Limits)
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: object) -> object:
        """What the slug and the kind of system say already may be left out: a name, and where tokens are given and how."""
        if not isinstance(value, dict):
            return value
        filled = dict(value)
        slug, auth = filled.get("slug"), filled.get("auth")
        if "name" not in filled and isinstance(slug, str):
            filled["name"] = slug.replace("-", " ").capitalize()
        connector = CONNECTORS.get(str(filled.get("connector")))
        if connector and connector.token_path and isinstance(auth, dict) and auth.get("type") == "oauth2":
            address = str(filled.get("base_url", "")).rstrip("/") + connector.token_path
            filled["auth"] = {"token_url": address, "client_auth": connector.client_auth, **auth}
        return filled

    @model_validator(mode="after")
    def _fits_its_connector(self) -> ConnectionDocument:
        connector = CONNECTORS.get(self.connector)
        if connector is None:
            raise ValueError(
                f"connector: there is no {self.connector!r}; there are {', '.join(sorted(CONNECTORS))}"
            )
        try:
            connector.Settings.model_validate(self.settings, context=WRITTEN)
        except ValidationError as error:
            raise ValueError(f"settings.{_fault(error.errors(include_input=False)[0])}") from None
        _check_signing(connector, self.auth, self.base_url)
        whole = {
            name: _whole(name, declared, connector, self.settings) for name, declared in self.datasets.items()
        }
        return self.model_copy(update={"datasets": whole})


def _check_signing(connector: type[Connector], auth: Credentials, base_url: str) -> None:
    """Raise ValueError where events would go out unsigned or in the clear, or a reader's requests would be signed."""
    is_signed = isinstance(auth, SignatureAuth)
    if connector.signs and not is_signed:
        raise ValueError('auth: events are signed; write {"type": "signature", "secret": "whsec_..."}')
    if is_signed and not connector.signs:
        raise ValueError(f"auth: {connector.label} signs no requests; signature is for webhooks")
    parts = urlsplit(base_url)
    is_listed = f"{parts.hostname}:{parts.port or HTTP_PORT}" in allowed_hosts()
    if connector.signs and parts.scheme != "https" and not is_listed:
        raise ValueError(
            "base_url: events are sent over TLS alone; write an address that begins with https://"
        )


def _whole(
    name: str, declared: DatasetDocument, connector: type[Connector], settings: Mapping[str, Any]
) -> DatasetDocument:
    """The dataset with what its connector knows of it. Raises ValueError for what the connector does not take."""
    if name not in connector.datasets:
        raise ValueError(f"datasets.{name}: this connector pulls {', '.join(sorted(connector.datasets))}")
    if not connector.has_endpoints and declared.endpoint != Endpoint():
        fields = ", ".join(sorted(declared.endpoint.model_fields_set))
        raise ValueError(f"datasets.{name}: {connector.label} has its own {fields}; leave it out")
    mapping = {**_own_mapping(connector, name, settings), **declared.mapping}
    whole = declared.model_copy(update={"mapping": mapping})
    _check_fields(name, whole)
    return whole


def _own_mapping(
    connector: type[Connector], dataset: str, settings: Mapping[str, Any]
) -> dict[str, FieldMapping]:
    if dataset not in connector.mappings:
        return {}
    declared = connector.mappings[dataset](connector.Settings.model_validate(settings))
    return {field: FieldMapping.model_validate(part) for field, part in declared.items()}


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


# --- secrets ----------------------------------------------------------------------------------------------


def merge_secrets(document: ConnectionDocument, connection: Connection | None) -> dict[str, Any]:
    """Return the secrets that `connection` has once the document is saved: those that it brings, and of those that it
    leaves out the ones that are kept.

    A secret belongs to the system that it was entered for: nothing is kept for an address of another origin. Raises
    DocumentRefused for a value that is to be kept and is not there, and SealBroken where the kept ones do not open.
    """
    kept: dict[str, Any] = {}
    if connection is not None and connection.origin == origin_of(document.base_url):
        kept = connection.secrets
    kept_auth = kept.get("auth", {}) if connection and connection.auth_type == document.auth.type else {}
    kept_params = kept.get("params", {})
    faults = list(_missing("headers", document.headers, kept.get("headers", {})))
    for name, declared in document.datasets.items():
        faults += _missing(f"datasets.{name}.params", declared.params, kept_params.get(name, {}))
    if faults:
        raise DocumentRefused(faults)
    params = {
        name: _merged_values(declared.params, kept_params.get(name, {}))
        for name, declared in document.datasets.items()
    }
    return {
        "auth": _merged_auth(document.auth, kept_auth),
        "headers": _merged_values(document.headers, kept.get("headers", {})),
        "params": {name: values for name, values in params.items() if values},
    }


def _missing(place: str, entered: Mapping[str, str | None], kept: Mapping[str, str]) -> Iterator[str]:
    for name, value in entered.items():
        if value is None and name not in kept:
            yield f"{place}.{name}: enter its value, none is kept for this address"


def _merged_values(entered: Mapping[str, str | None], kept: dict[str, str]) -> dict[str, str]:
    return {name: kept[name] if value is None else value for name, value in (entered or kept).items()}


def _merged_auth(auth: Credentials, kept: dict[str, Any]) -> dict[str, Any]:
    entered = auth.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
    if isinstance(auth, OAuth2Auth) and origin_of(kept.get("token_url", "")) != origin_of(auth.token_url):
        kept = {}  # the client's secret goes to the token endpoint, and was entered for the earlier one
    merged = {**{name: kept[name] for name in auth.secret_fields if name in kept}, **entered}
    if isinstance(auth, MutualTlsAuth) and (auth.certificate or auth.key):
        try:
            check_certificate(merged.get("certificate"), merged.get("key"), merged.get("ca"))
        except ValueError as error:
            raise DocumentRefused([f"auth: {error}"]) from None
    return merged


# --- export -----------------------------------------------------------------------------------------------


def document_of(connection: Connection) -> dict[str, Any]:
    """Return the connection's document, which loaded again changes nothing.

    Every secret is null: the credential, and the value of each header and parameter. Whoever reads it sees what has to
    be entered in another installation; where it is loaded over the same connection, the kept values stay. Raises
    SealBroken where they do not open, for their names are sealed too.
    """
    secrets = connection.secrets
    streams = connection.streams.filter(declared=True).order_by("dataset")
    parts = {
        "headers": dict.fromkeys(secrets.get("headers", {})),
        "timeouts": connection.timeouts,
        "limits": connection.limits,
        "settings": connection.settings,
    }
    return {
        "slug": connection.slug,
        "name": connection.name,
        "connector": connection.connector,
        "enabled": connection.enabled,
        "base_url": connection.base_url,
        "auth": _auth_of(connection.auth_type, secrets.get("auth", {})),
        "schedule": schedule_of(connection),
        "datasets": {stream.dataset: _dataset_of(stream, connection) for stream in streams},
        "guards": connection.guards,
        "conflicts": connection.conflicts,
        **{name: part for name, part in parts.items() if part},
    }


def _auth_of(kind: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    secret_fields = CREDENTIALS[kind].secret_fields
    return {
        "type": kind,
        **{name: None if name in secret_fields else value for name, value in kept.items()},
    }


def _dataset_of(stream: Stream, connection: Connection) -> dict[str, Any]:
    """A dataset without what its connector knows by itself: other settings may make that something else."""
    params = dict.fromkeys(stream.params)
    connector = CONNECTORS[connection.connector]
    own = as_kept(_own_mapping(connector, stream.dataset, connection.settings))
    mapping = {
        name: declared["path"] if declared.keys() == {"path"} else declared
        for name, declared in stream.mapping.items()
        if own.get(name) != declared
    }
    return {
        **(stream.endpoint if connector.has_endpoints else {}),
        **({"params": params} if params else {}),
        **({"mapping": mapping} if mapping else {}),
    }


def as_kept(mapping: Mapping[str, FieldMapping]) -> dict[str, Any]:
    """A mapping as its stream keeps it."""
    return {
        field: part.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        for field, part in mapping.items()
    }


# --- older installations ----------------------------------------------------------------------------------

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


def parse_mapping(dataset: str, content: object) -> dict[str, FieldMapping]:
    """Return the mapping of a dataset that `content` (decoded JSON) is. Raises DocumentRefused with every fault."""
    if is_too_deep(content):
        raise DocumentRefused([TOO_DEEP])
    if unstorable := list(_unstorable(content, "mapping")):
        raise DocumentRefused(unstorable)
    try:
        declared = DatasetDocument.model_validate({"mapping": content})
        _check_fields(dataset, declared)
    except ValidationError as error:
        raise DocumentRefused(
            [_fault(part) for part in error.errors(include_input=False, include_url=False)]
        ) from None
    except ValueError as error:
        raise DocumentRefused([str(error)]) from None
    return declared.mapping


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
    steps = [str(step) for step in part["loc"] if step != "endpoint"]
    message = part["msg"].removeprefix("Value error, ")
    return f"{'.'.join(steps)}: {message}" if steps else message
