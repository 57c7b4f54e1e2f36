"""Rejected records: replayed from what was kept of them, and closed by the run that settles them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import xxhash
from django.db.models import QuerySet

from integrations.connectors.base import Page
from integrations.connectors.decoding import Encoded, decode
from integrations.models import Change, RejectedRecord, Stream, SyncRun
from integrations.models.plan import RejectionOutcome
from integrations.sync.bulk import in_chunks
from integrations.sync.known import KnownRecords

REPLAY_PAGE: Final = 500


def kept_pages(replay: SyncRun) -> Iterator[Page]:
    """The records that a replay takes again, in pages, as they came from their source."""
    ids = list(replay.replayed.order_by("pk").values_list("pk", flat=True))
    starts = range(0, len(ids), REPLAY_PAGE)
    for number, start in enumerate(starts, start=1):
        raws = [
            bytes(raw)
            for raw in RejectedRecord.objects.filter(pk__in=ids[start : start + REPLAY_PAGE])
            .order_by("pk")
            .values_list("raw", flat=True)
        ]
        following = str(number + 1) if number < len(starts) else ""
        digest = xxhash.xxh3_128_digest(b"\n".join(raws))
        records = [decode(raw) for raw in raws]
        yield Page(number, digest, records, Encoded.of(records), following)


def close_rejections(run: SyncRun, stream: Stream, known: KnownRecords) -> None:
    """Close what earlier runs rejected and this one settles: it has accepted the record, or rejects it anew (the newer
    rejection stands), or has read everything and no longer meets it."""
    earlier = RejectedRecord.objects.open().of_stream(stream).exclude(run=run)
    rows = [_Earlier(*row) for row in earlier.values_list("pk", "key", "replayed_by_id")]
    keyless_again = _raws(run.rejections.filter(key="")) if not all(row.key for row in rows) else {}
    came_again = {
        pk for raw, pks in _raws(earlier.filter(key="")).items() if raw in keyless_again for pk in pks
    }
    for chunk in in_chunks(rows):
        settled = _Settled.by(run, stream, known, {row.key for row in chunk if row.key}, came_again)
        closing: dict[RejectionOutcome, list[int]] = defaultdict(list)
        for row in chunk:
            if outcome := settled.outcome_of(row):
                closing[outcome].append(row.pk)
        for outcome, ids in closing.items():
            RejectedRecord.objects.filter(pk__in=ids).update(outcome=outcome, closed_by=run)


def _raws(rejections: QuerySet[RejectedRecord]) -> dict[bytes, list[int]]:
    """Rejections by a digest of what came: a record without a key is known by nothing else."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for pk, raw in rejections.values_list("pk", "raw").iterator(chunk_size=REPLAY_PAGE):
        found[xxhash.xxh3_128_digest(bytes(raw))].append(pk)
    return found


@dataclass(frozen=True)
class _Earlier:
    """A record that an earlier run rejected."""

    pk: int
    key: str
    replayed_by: int | None


@dataclass(frozen=True)
class _Settled:
    """What a run says of records that earlier runs had rejected."""

    run: SyncRun
    accepted: set[str]
    again: set[str]
    keyless_again: set[int]

    @classmethod
    def by(
        cls, run: SyncRun, stream: Stream, known: KnownRecords, keys: set[str], keyless_again: set[int]
    ) -> _Settled:
        staged = set(Change.objects.filter(run=run, key__in=keys).values_list("key", flat=True))
        again = set(run.rejections.filter(key__in=keys).values_list("key", flat=True))
        links = stream.links.filter(key__in=keys).values_list("key", "raw_fingerprint")
        as_known = {key for key, raw in links if known.times_seen(bytes(raw))}
        return cls(run, staged | as_known, again, keyless_again)

    def outcome_of(self, rejected: _Earlier) -> RejectionOutcome | None:
        """How the run settles the record, or None where it says nothing of it."""
        if rejected.key in self.again or rejected.pk in self.keyless_again:
            return RejectionOutcome.REPEATED
        replay = self.run.replay
        if rejected.key in self.accepted or (replay and rejected.replayed_by == replay.pk):
            return RejectionOutcome.ACCEPTED
        return RejectionOutcome.CLEARED if self.run.is_complete else None
