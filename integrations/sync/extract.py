"""Extract, map, validate, stage: page by page, in bounded memory, with no transaction open while the wire is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import xxhash
from django.db import transaction
from django.db.models import F

from integrations.connectors.base import Bookmark, Page
from integrations.connectors.registry import connector_for
from integrations.datasets import DATASETS, Dataset
from integrations.datasets.base import HandEdit, StagedRecord
from integrations.datasets.rejection import Rejected, Rejection
from integrations.models import Change, RejectedRecord, RunLease, RunPage, Stream, SyncRun
from integrations.models.plan import MAX_RAW_BYTES, ChangeAction
from integrations.sync.bulk import bulk_load, commit_without_waiting
from integrations.sync.failpoints import Failpoint, pass_by
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
    # Of a run that was taken over: where its reading goes on.
    bookmark: Bookmark | None = None

    def see(self, fingerprint: bytes) -> bool:
        """Count a record by its raw fingerprint, and say whether it has to be looked at."""
        times = self.known.see(fingerprint)
        if times == 1:
            self.unchanged += 1
        elif times > 1:
            self.copies += 1
        return times == 0


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


def extract(run: SyncRun, stream: Stream, lease: Lease, begun: Extract | None = None) -> Extract:
    """Read every page of the stream, or what has changed since the watermark, and stage what is new in it. What was
    `begun` by another process is gone on with, at its bookmark.

    Raises a TransportError when the feed cannot be read whole; LeaseLost when the run is no longer ours.
    """
    dataset = DATASETS[stream.dataset]
    mapping = CompiledMapping(stream.mapping)
    result = begun or _begin(run, stream, lease)
    for page in _pages(run, stream, result.bookmark):
        kinds = _sort(run, list(_new_records(page, result)), dataset, mapping)
        with transaction.atomic():
            # What a crash of the database takes with it is read again by whoever takes the run over.
            commit_without_waiting()
            lease.renew()
            _keep_page(run, page, dataset, kinds)
            pass_by(Failpoint.STAGING)
        pass_by(Failpoint.STAGED)
        _count_page(page, kinds, result)
    run.pages, run.read = result.pages, result.read
    return result


def _begin(run: SyncRun, stream: Stream, lease: Lease) -> Extract:
    """An extract of which nothing is read yet. What it asks for, and of which state of the connection, is kept for whoever
    has to take the run over."""
    known, edits = known_before(stream)
    run.asked_since = asked_since_of(run, stream)
    run.is_complete = not (run.asked_since or run.replay)
    with transaction.atomic():
        lease.renew()
        run.save(update_fields=["asked_since", "is_complete"])
        RunLease.objects.filter(pk=run.pk).update(connection_changed_at=stream.connection.changed_at)
    return Extract(known, edits, watermark=Watermark.of(stream))


def known_before(stream: Stream) -> tuple[KnownRecords, Mapping[int, HandEdit]]:
    """What was applied last of a stream, as it looks from outside, and what people have made of it since."""
    edits = DATASETS[stream.dataset].hand_edits(stream)
    # What a person has settled already is looked at again only when the source says something else.
    settled = stream.links.filter(pk__in=edits, pinned__isnull=False).values_list("pk", flat=True)
    return KnownRecords.of(stream, reading_version(stream), edits.keys() - set(settled)), edits


def asked_since_of(run: SyncRun, stream: Stream) -> str:
    """Since when the run asks its source; "" for everything, and for a replay, which asks nobody."""
    return "" if run.replay else since_for(stream, reading_version(stream))


def _pages(run: SyncRun, stream: Stream, bookmark: Bookmark | None) -> Iterator[Page]:
    """The source's pages or, of a replay, the records that were kept."""
    if replay := run.replay:
        return kept_pages(replay)
    if bookmark and not bookmark.token:
        return iter(())  # the last page had been read
    return connector_for(stream.connection).pull(stream, since=run.asked_since, bookmark=bookmark)


def _keep_page(run: SyncRun, page: Page, dataset: Dataset, kinds: _Sorted) -> None:
    """Write what is new on a page, and that the page was read."""
    _write_changes(run, dataset, kinds.staged)
    RejectedRecord.objects.bulk_create(kinds.rejected)
    RunPage.objects.create(
        run=run,
        number=page.number,
        digest=page.digest,
        records=len(page.records),
        next=page.next,
        fingerprints=b"".join(page.encoded.fingerprints),
    )
    SyncRun.objects.filter(pk=run.pk).update(pages=F("pages") + 1, read=F("read") + len(page.records))


def _count_page(page: Page, kinds: _Sorted, result: Extract) -> None:
    result.pages += 1
    result.read += len(page.records)
    result.amount += sum(record.amount or 0 for _, record in kinds.staged)
    result.amount += sum(rejected.amount or 0 for rejected in kinds.rejected)
    result.keyless += sum(not rejected.key for rejected in kinds.rejected)
    result.rejected += len(kinds.rejected)
    if result.watermark:
        result.watermark.see(page.records, [rejected.position - 1 for rejected in kinds.rejected])


def _new_records(page: Page, result: Extract) -> Iterator[RawRecord]:
    """Count the records of a page and yield those that have to be looked at."""
    records = zip(page.records, page.encoded.raws, page.encoded.fingerprints, strict=True)
    for position, (value, raw, fingerprint) in enumerate(records, start=1):
        if result.see(fingerprint):
            yield RawRecord(value, raw, fingerprint, page.number, position)


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
    if not kinds.mapped:
        return kinds
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
    if not staged:
        return
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
