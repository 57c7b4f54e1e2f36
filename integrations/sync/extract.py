"""Extract, map, validate, stage: page by page, in bounded memory, with no transaction open while the wire is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import xxhash
from django.db import transaction

from integrations.connectors.base import Page
from integrations.connectors.decoding import encode
from integrations.connectors.registry import connector_for
from integrations.datasets import DATASETS, Dataset
from integrations.datasets.base import HandEdit, StagedRecord
from integrations.datasets.rejection import Rejected, Rejection
from integrations.models import Change, RejectedRecord, RunPage, Stream, SyncRun
from integrations.models.plan import MAX_RAW_BYTES, ChangeAction
from integrations.sync.bulk import bulk_load
from integrations.sync.known import KnownRecords
from integrations.sync.lease import Lease
from integrations.sync.mapping import CompiledMapping, Unmapped, reading_version
from integrations.sync.rejections import kept_pages
from integrations.sync.watermark import Watermark, since_for

CHANGE_COLUMNS = (
    "run_id",
    "action",
    "is_absent",
    "key",
    "student_id",
    "object_id",
    "raw_fingerprint",
    "canonical_fingerprint",
    "amount_after",
    "moved",
    "after",
)
_KEY_CHARACTERS = 140


@dataclass
class Extract:
    """What was read: counts of records, and what is known of those that need no second look."""

    known: KnownRecords
    hand_edits: Mapping[int, HandEdit] = field(default_factory=dict)
    pages: int = 0
    read: int = 0
    unchanged: int = 0
    copies: int = 0
    # The sum of the amounts of records that were looked at, in minor units.
    amount: int = 0
    # A rejected record without a key could be any of the live ones: then nothing may be called absent.
    keyless: int = 0
    rejected: int = 0
    watermark: Watermark | None = None


@dataclass(frozen=True)
class RawRecord:
    """A record as it came, and where it stood."""

    value: Any
    raw: bytes
    fingerprint: bytes
    page: int
    position: int


@dataclass
class _Sorted:
    """The new records of one page, sorted by whether they can be used."""

    mapped: list[tuple[RawRecord, Any]] = field(default_factory=list)
    staged: list[tuple[RawRecord, StagedRecord]] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)


def extract(run: SyncRun, stream: Stream, lease: Lease) -> Extract:
    """Read every page of the stream, or what has changed since the watermark, and stage what is new in it.

    Raises a TransportError when the feed cannot be read whole; LeaseLost when the run is no longer ours.
    """
    dataset = DATASETS[stream.dataset]
    mapping = CompiledMapping(stream.mapping)
    edits = dataset.hand_edits(stream)
    # What a person has settled already is looked at again only when the source says something else.
    settled = stream.links.filter(pk__in=edits, pinned__isnull=False).values_list("pk", flat=True)
    touched = edits.keys() - set(settled)
    version = reading_version(stream)
    result = Extract(KnownRecords.of(stream, version, touched), edits, watermark=Watermark.of(stream))
    run.asked_since = "" if run.replay else since_for(stream, version)
    run.is_complete = not (run.asked_since or run.replay)
    for page in _pages(run, stream):
        with transaction.atomic():
            lease.renew()
            _stage_page(run, page, dataset, mapping, result)
    run.pages, run.read = result.pages, result.read
    return result


def _pages(run: SyncRun, stream: Stream) -> Iterator[Page]:
    """The source's pages or, of a replay, the records that were kept."""
    if replay := run.replay:
        return kept_pages(replay)
    return connector_for(stream.connection).pull(stream, since=run.asked_since)


def _stage_page(
    run: SyncRun, page: Page, dataset: Dataset, mapping: CompiledMapping, result: Extract
) -> None:
    fingerprints = bytearray()
    new = []
    for record in _raw_records(page):
        fingerprints += record.fingerprint
        times = result.known.see(record.fingerprint)
        if times == 0:
            new.append(record)
        elif times == 1:
            result.unchanged += 1
        else:
            result.copies += 1
    kinds = _sort(run, new, dataset, mapping)
    _write_changes(run, dataset, kinds.staged)
    RejectedRecord.objects.bulk_create(kinds.rejected)
    RunPage.objects.create(
        run=run,
        number=page.number,
        digest=page.digest,
        records=len(page.records),
        next=page.next,
        fingerprints=bytes(fingerprints),
    )
    result.pages += 1
    result.read += len(page.records)
    result.amount += sum(record.amount or 0 for _, record in kinds.staged)
    result.amount += sum(rejected.amount or 0 for rejected in kinds.rejected)
    result.keyless += sum(not rejected.key for rejected in kinds.rejected)
    result.rejected += len(kinds.rejected)
    if result.watermark:
        result.watermark.see(page.records, [rejected.position - 1 for rejected in kinds.rejected])
    SyncRun.objects.filter(pk=run.pk).update(pages=result.pages, read=result.read)


def _raw_records(page: Page) -> Iterator[RawRecord]:
    for position, value in enumerate(page.records, start=1):
        raw = encode(value)
        yield RawRecord(value, raw, xxhash.xxh3_128_digest(raw), page.number, position)


def _sort(run: SyncRun, records: list[RawRecord], dataset: Dataset, mapping: CompiledMapping) -> _Sorted:
    """Map and validate each record, then stage those whose references are there."""
    kinds = _Sorted()
    for record in records:
        values: dict[str, Any] = {}
        try:
            values = _mapped(record.value, mapping)
            kinds.mapped.append((record, dataset.validate(values)))
        except Unmapped as error:
            kinds.rejected.append(_rejected(run, record, dataset.key_of(error.values), error.rejection))
        except Rejected as error:
            kinds.rejected.append(_rejected(run, record, dataset.key_of(values), error.rejection))
    references = dataset.find_references([valid for _, valid in kinds.mapped], run.stream)
    for record, valid in kinds.mapped:
        try:
            kinds.staged.append((record, dataset.stage(valid, references)))
        except Rejected as error:
            key = dataset.key_of(valid.model_dump(mode="json"))
            kinds.rejected.append(
                _rejected(run, record, key, error.rejection, getattr(valid, "amount", None))
            )
    return kinds


def _mapped(value: Any, mapping: CompiledMapping) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unmapped(Rejection("not_an_object", "The record is not an object with named fields."), {})
    return mapping.apply(value)


def _rejected(
    run: SyncRun, record: RawRecord, key: str, rejection: Rejection, amount: int | None = None
) -> RejectedRecord:
    # A key that no valid record could have is no key: it cannot protect a live record from counting as absent.
    readable = len(key) <= _KEY_CHARACTERS and key.isprintable()
    return RejectedRecord(
        run=run,
        key=key if readable else "",
        rule=rejection.rule[:60],
        field=rejection.field[:60],
        reason=_storable(rejection.reason),
        value=_storable(rejection.value),
        raw=record.raw[:MAX_RAW_BYTES],
        raw_bytes=len(record.raw),
        amount=amount,
        page=record.page,
        position=record.position,
    )


def _storable(text: str) -> str:
    """A text that any database takes: without NUL bytes and broken Unicode, and not longer than anyone reads."""
    return text.replace("\x00", "\\0").encode("utf-8", "replace").decode()[:2000]


def _write_changes(run: SyncRun, dataset: Dataset, staged: list[tuple[RawRecord, StagedRecord]]) -> None:
    """Write the staged records as changes: provisionally created, or voided where the record says so itself."""
    posting = [dataset.posts(record.values) for _, record in staged]
    object_ids = iter(dataset.reserve_ids(sum(posting)))
    bulk_load(
        Change._meta.db_table,
        CHANGE_COLUMNS,
        (
            (
                run.pk,
                ChangeAction.CREATE.value if record.is_live else ChangeAction.VOID.value,
                False,
                record.key,
                record.student_id,
                next(object_ids) if posts else None,
                raw.fingerprint,
                fingerprint_of(dataset.identity(record.values)),
                record.amount,
                abs(record.amount or 0) if posts else 0,
                orjson.dumps(record.values).decode(),
            )
            for (raw, record), posts in zip(staged, posting, strict=True)
        ),
    )


def fingerprint_of(identity: dict[str, Any]) -> bytes:
    """The fingerprint of a canonical record: the same whenever it means the same."""
    return xxhash.xxh3_128_digest(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS))
