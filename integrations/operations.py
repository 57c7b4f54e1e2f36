"""What may be done to connections and their runs: each a change and its audit event, in one transaction."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from celery import current_app
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

import audit
from apiauth.sealed import SealBroken
from integrations.connectors.base import Unsupported
from integrations.connectors.certificates import expiry_of
from integrations.connectors.decoding import decode
from integrations.connectors.registry import connector_for
from integrations.datasets import DATASETS
from integrations.datasets.base import MASK
from integrations.datasets.rejection import Rejected
from integrations.documents import (
    ConnectionDocument,
    DocumentRefused,
    as_kept,
    merge_secrets,
    parse_document,
    parse_mapping,
)
from integrations.expiry import notice_certificate
from integrations.models import (
    Connection,
    ConnectionToken,
    OutboxMessage,
    RejectedRecord,
    RunLease,
    Stream,
    SyncRun,
)
from integrations.models.plan import MAX_RAW_BYTES
from integrations.models.run import RunTrigger
from integrations.notices.addresses import owe_test
from integrations.outbox.doorbell import ring_after_commit
from integrations.schedules import SCHEDULE_COLUMNS
from integrations.sync.mapping import CompiledMapping
from integrations.transports.errors import TransportError
from integrations.transports.retries import ONE_TRY

log = structlog.get_logger(__name__)
# How many records a trial maps: of a page, and of what was rejected.
TRIED_PAGE_RECORDS: Final = 20
TRIED_RECORDS: Final = 1_000


class AlreadyRunning(Exception):
    """The stream has a live run; `run` is it."""

    def __init__(self, run: SyncRun) -> None:
        super().__init__(
            f"Run {run.pk} of {run.stream} is {run.get_status_display().lower()} already, "
            f"started by {run.started_by}.{_held(run)} Wait for it, or cancel it."
        )
        self.run = run


def _held(run: SyncRun) -> str:
    """Who is at a run, and from when on another process may take it over."""
    lease = RunLease.objects.filter(run=run).first()
    if lease is None:
        return ""
    return f" {lease.holder} holds it, and was alive at {lease.heartbeat_at:%H:%M:%S} UTC."


class NotSyncable(Exception):
    """The connection cannot be synced as it stands; the text says why."""


# --- connections ------------------------------------------------------------------------------------------


@transaction.atomic
def save_connection(content: object) -> tuple[Connection, bool]:
    """Create or replace a connection from its document (decoded JSON), and say whether anything changed.

    An identical document changes nothing. A secret that the document leaves out is kept, unless the address leads
    to another origin: a secret belongs to the system that it was entered for. Raises DocumentRefused.
    """
    document = parse_document(content)
    found = Connection.objects.select_for_update().filter(slug=document.slug).first()
    secrets = _secrets_after(document, found)
    before = _state(found) if found else {}
    connection = found or Connection(slug=document.slug)
    if secrets["auth"] != (before.get("secrets") or {}).get("auth") or not document.auth.lacks_a_secret():
        ConnectionToken.objects.filter(
            connection=connection.pk
        ).delete()  # it was given for other credentials
    _fill(connection, document)
    if secrets != before.get("secrets"):
        connection.secrets = secrets
    connection.certificate_expires_at = _certificate_end(connection.auth_type, secrets["auth"])
    if found and _state(connection) == before and not _streams_differ(connection, document):
        return connection, False
    connection.changed_by = audit.current_actor().name
    connection.save()
    _save_streams(connection, document)
    notice_certificate(connection)
    audit.record(
        f"connection.{'changed' if found else 'created'}", connection, detail={"slug": connection.slug}
    )
    return connection, True


def check_document(content: object) -> ConnectionDocument:
    """Return the document that `content` is, if it could be saved now. Raises DocumentRefused as saving would."""
    document = parse_document(content)
    _secrets_after(document, Connection.objects.filter(slug=document.slug).first())
    return document


def _secrets_after(document: ConnectionDocument, connection: Connection | None) -> dict[str, Any]:
    """The secrets once the document is saved. Kept ones that do not open are given up for a document that brings its
    own; with one that leaves them out they stay for whoever finds the key."""
    try:
        return merge_secrets(document, connection)
    except SealBroken as error:
        if document.auth.lacks_a_secret():
            raise DocumentRefused([f"auth: {error}"]) from None
        return merge_secrets(document, None)


def _certificate_end(auth_type: str, auth: dict[str, Any]) -> datetime.datetime | None:
    return expiry_of(auth["certificate"]) if auth_type == "mtls" and "certificate" in auth else None


def _fill(connection: Connection, document: ConnectionDocument) -> None:
    connection.name, connection.connector = document.name, document.connector
    connection.enabled, connection.base_url, connection.archived_at = (
        document.enabled,
        document.base_url,
        None,
    )
    document.schedule.fill(connection)
    connection.settings = document.settings
    connection.timeouts = document.timeouts.model_dump(exclude_none=True)
    connection.limits = document.limits.model_dump(exclude_none=True)
    connection.guards = document.guards.model_dump(mode="json", exclude_unset=True)
    connection.conflicts = document.conflicts
    connection.auth_type = document.auth.type


def _state(connection: Connection) -> dict[str, Any]:
    names = (
        "name",
        "connector",
        "enabled",
        "base_url",
        "auth_type",
        *SCHEDULE_COLUMNS,
        "settings",
        "timeouts",
        "guards",
        "conflicts",
        "limits",
    )
    try:
        secrets = connection.secrets
    except SealBroken:
        secrets = None  # no document says the same
    return {
        **{name: getattr(connection, name) for name in names},
        "secrets": secrets,
        "archived_at": connection.archived_at,
    }


def _declared_streams(document: ConnectionDocument) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    return {
        name: (declared.endpoint.model_dump(mode="json", exclude_none=True), as_kept(declared.mapping))
        for name, declared in document.datasets.items()
    }


def _streams_differ(connection: Connection, document: ConnectionDocument) -> bool:
    present = {
        stream.dataset: (stream.endpoint, stream.mapping)
        for stream in connection.streams.filter(declared=True)
    }
    return present != _declared_streams(document)


def _save_streams(connection: Connection, document: ConnectionDocument) -> None:
    """Bring the connection's streams to what the document declares. A new one is due at once, or at the next time of day
    or of its cron expression."""
    declared = _declared_streams(document)
    connection.streams.exclude(dataset__in=declared).update(
        declared=False, next_slot_at=None, next_run_at=None
    )
    for name, (endpoint, mapping) in declared.items():
        stream, _ = Stream.objects.get_or_create(connection=connection, dataset=name)
        stream.connection = connection
        stream.declared, stream.endpoint, stream.mapping = True, endpoint, mapping
        _keep_to_schedule(stream, first_slot=timezone.now() if connection.every_minutes else None)
        stream.save()


@transaction.atomic
def reschedule(connection: Connection) -> None:
    """Bring the streams' next runs to the connection's schedule: sooner where an interval became shorter, never where
    it was taken away, and an interval from now where there was none."""
    for stream in connection.streams.filter(declared=True):
        stream.connection = connection
        _keep_to_schedule(stream)
        stream.save(update_fields=["next_slot_at", "next_run_at"])


def _keep_to_schedule(stream: Stream, first_slot: datetime.datetime | None = None) -> None:
    """Let the stream wait for a slot of its schedule: for the one that it waits for, where that is still one, otherwise
    for the next; `first_slot` is for a stream that waits for none."""
    schedule, waiting = stream.connection.schedule, stream.next_slot_at
    soonest = stream.slot_after(timezone.now())
    if soonest is None:
        stream.wait_for(None)
    elif waiting is None:
        stream.wait_for(first_slot or soonest)
    else:
        stream.wait_for(waiting if waiting <= soonest and schedule.has_slot(waiting) else soonest)


@transaction.atomic
def archive_connection(connection: Connection, *, reason: str = "") -> None:
    """Take a connection out of use; what it did stays."""
    connection.archived_at, connection.enabled = timezone.now(), False
    connection.save(update_fields=["archived_at", "enabled"])
    connection.streams.update(next_slot_at=None, next_run_at=None)
    audit.record("connection.archived", connection, reason=reason)


@dataclass(frozen=True)
class Trial:
    """What came of trying a stream: how many records its first page has, and what they map to."""

    dataset: str
    is_good: bool
    message: str
    examples: list[dict[str, Any]]


def try_connection(connection: Connection) -> list[Trial]:
    """Read the first page of each stream and map its first records. Nothing is stored or changed."""
    audit.record("connection.tested", connection)
    return [_try_stream(connection, stream) for stream in connection.streams.filter(declared=True)]


@transaction.atomic
def send_test_event(connection: Connection) -> OutboxMessage:
    """Queue a test for an address that is told of alerts, and return its message."""
    audit.record("connection.tested", connection)
    message = owe_test(connection)
    ring_after_commit()
    return message


def _try_stream(connection: Connection, stream: Stream) -> Trial:
    try:
        connector = connector_for(connection)
        connector.retries = ONE_TRY  # somebody sits before it: what fails is told at once
        page = next(connector.pull(stream), None)
    except TransportError as error:
        return Trial(stream.dataset, is_good=False, message=f"{error}. {error.advice}", examples=[])
    except (Unsupported, SealBroken) as error:
        return Trial(stream.dataset, is_good=False, message=str(error), examples=[])
    if page is None:
        return Trial(stream.dataset, is_good=False, message="There was no answer.", examples=[])
    trial = _trial(stream.dataset, CompiledMapping(stream.mapping), page.records[:TRIED_PAGE_RECORDS])
    return replace(trial, message=f"The first page has {len(page.records):,} records. {trial.message}")


def _trial(dataset: str, mapping: CompiledMapping, records: Sequence[Any]) -> Trial:
    """Map and validate some records, and say what came of it."""
    examples, faults = [], []
    for record in records:
        try:
            values = mapping.apply(record)
            DATASETS[dataset].validate(values)
        except Rejected as error:
            faults.append(error.rejection.reason)
        else:
            examples.append(_shown(values, DATASETS[dataset].masked_fields))
    message = f"Of the first {len(records):,}, {len(examples):,} can be used."
    if faults:
        message += f" The first that cannot: {faults[0]}"
    return Trial(dataset, is_good=not faults, message=message, examples=examples[:3])


def _shown(values: Mapping[str, Any], masked: Collection[str]) -> dict[str, Any]:
    """A record for a page that anybody sees who may test: that there is a contact, and not which."""
    return {name: MASK if name in masked and value else value for name, value in values.items()}


@transaction.atomic
def mend_mapping(stream: Stream, mapping: object) -> None:
    """Give a stream another mapping (the `mapping` of a connection document). Every record is then looked at again.
    Raises DocumentRefused with the faults of the mapping."""
    locked = Stream.objects.select_for_update(of=("self",)).select_related("connection").get(pk=stream.pk)
    mended = as_kept(parse_mapping(locked.dataset, mapping))
    if mended == locked.mapping:
        return
    locked.mapping = stream.mapping = mended
    locked.save(update_fields=["mapping"])
    # Whoever mends a mapping has edited the connection: a run under way does not count, nor do their two eyes.
    locked.connection.changed_by = audit.current_actor().name
    locked.connection.save(update_fields=["changed_by", "changed_at"])
    audit.record(
        "connection.mapping_mended",
        locked.connection,
        detail={"slug": locked.connection.slug, "dataset": locked.dataset},
    )


def try_mapping(stream: Stream, mapping: object, rejections: QuerySet[RejectedRecord]) -> Trial:
    """Say how many of these rejected records another mapping could use. Nothing is stored or changed. Raises
    DocumentRefused with the faults of the mapping."""
    compiled = CompiledMapping(as_kept(parse_mapping(stream.dataset, mapping)))
    kept = rejections.filter(raw_bytes__lte=MAX_RAW_BYTES).exclude(raw=b"").order_by("pk")[:TRIED_RECORDS]
    return _trial(stream.dataset, compiled, [decode(bytes(rejected.raw)) for rejected in kept])


# --- runs -------------------------------------------------------------------------------------------------


@transaction.atomic
def request_run(
    stream: Stream, trigger: RunTrigger, *, dry_run: bool = False, slot: datetime.datetime | None = None
) -> SyncRun:
    """Queue a run of the stream and ring for a worker once that is committed. `slot` is what a scheduled one is for.

    Raises AlreadyRunning when the stream has a live run, NotSyncable when it is not in use.
    """
    connection = stream.connection
    if not stream.is_in_use:
        raise NotSyncable(f"{connection.name} is switched off: switch it on before you sync it.")
    asked = SyncRun(
        stream=stream,
        trigger=trigger,
        is_dry_run=dry_run,
        slot_at=slot,
        started_by=audit.current_actor().name,
    )
    run = _queued(asked)
    audit.record("sync_run.requested", run, detail={"stream": str(stream), "dry_run": dry_run})
    if trigger != RunTrigger.COMMAND:
        transaction.on_commit(lambda: ring(run.pk))
    return run


def ask_for_everything(streams: Iterable[Stream]) -> None:
    """Make the next extract of these streams complete, though they may ask for what has changed."""
    Stream.objects.filter(pk__in=[stream.pk for stream in streams]).update(watermark="")


def _queued(run: SyncRun) -> SyncRun:
    """Insert the run: the constraint, not a look beforehand, decides whether there may be another."""
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError:
        if live := SyncRun.objects.live().filter(stream=run.stream).first():
            raise AlreadyRunning(live) from None
        run.save()  # the one in the way has ended since then
    return run


def ring(run_id: int) -> None:
    """Tell the workers of a queued run. Never fails: a ring that is lost is made good by the next sweep."""
    try:
        current_app.send_task("integrations.tasks.run_sync", [run_id])
    except (OperationalError, OSError):
        log.warning("sync.ring_lost", run=run_id)
