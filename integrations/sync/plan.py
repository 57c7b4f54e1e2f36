"""Plan: what the staged records mean against what was applied last, as sets, in the database.

Each step is one statement whatever the size of the feed. Together they give every staged row its action and its
before-image, add a row for each record that is gone, and count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Sum
from django.utils import timezone

from integrations.datasets import DATASETS
from integrations.models import Change, RejectedRecord, RunLease, Stream, SyncLink, SyncRun
from integrations.models.plan import ABSENT, DIFFERING_COPIES_RULE, MAX_RAW_BYTES, ChangeAction
from integrations.sync.bulk import execute, id_set, in_chunks
from integrations.sync.ceiling import keep_what_was_approved
from integrations.sync.certificate import Certificate
from integrations.sync.conflicts import settle_conflicts
from integrations.sync.contradictions import reject_contradictions
from integrations.sync.extract import Extract
from integrations.sync.failpoints import Failpoint, pass_by
from integrations.sync.lease import Lease

CHANGE, LINK, REJECTED = Change._meta.db_table, SyncLink._meta.db_table, RejectedRecord._meta.db_table
DIFFERING_COPIES = (
    "The feed has this record more than once, and its copies differ. None of them was used: "
    "the source has to say which is right."
)


@transaction.atomic
def make_plan(run: SyncRun, stream: Stream, lease: Lease, extract: Extract) -> Certificate:
    """Turn the staged records of a run into its plan, and return what the plan comes to. Raises LeaseLost when the run is
    no longer ours, CertificateBroken when what was read is not accounted for."""
    lease.lock()
    certificate = Certificate()
    with id_set("unseen_link", extract.known.unseen_ids()) as unseen:
        _count_read(stream, extract, unseen, certificate)
        _reject_differing_copies(run)
        _settle_copies_of_known(run, stream, extract, certificate)
        _drop_identical_copies(run, certificate)
        _match_with_links(run, stream)
        if run.is_complete and not extract.keyless:
            _void_absent(run, stream, extract, unseen)
    settle_conflicts(run, stream, extract.hand_edits)
    reject_contradictions(run)
    keep_what_was_approved(run, certificate)
    count_plan(run, stream, certificate)
    certificate.check_read()
    keep_plan(run, certificate)
    pass_by(Failpoint.PLANNING)
    return certificate


def keep_plan(run: SyncRun, certificate: Certificate) -> None:
    """Note, in the caller's transaction, that the plan is made and what it comes to, for whoever has to take the run over."""
    RunLease.objects.filter(pk=run.pk).update(planned_at=timezone.now(), plan=certificate.as_json())


def _count_read(stream: Stream, extract: Extract, unseen: str, certificate: Certificate) -> None:
    """Count what was read. What needed no second look counts with the amount that its link remembers."""
    counts, sums = certificate.counts, certificate.sums
    counts.read, counts.unchanged, counts.copies = extract.read, extract.unchanged, extract.copies
    if extract.unchanged:
        known = stream.links.exclude(raw_fingerprint=b"")
        sums.unchanged = _total(known, "amount") - _total(
            known.extra(where=[f"id IN (SELECT id FROM {unseen})"]), "amount"
        )
    for chunk in in_chunks(extract.known.copies()):
        amounts = dict(
            SyncLink.objects.filter(pk__in=[link for link, _ in chunk]).values_list("id", "amount")
        )
        sums.copies += sum(amounts[link] * times for link, times in chunk)
    sums.read = extract.amount + sums.unchanged + sums.copies


def _reject_differing_copies(run: SyncRun) -> None:
    """Reject every copy of a key whose copies say different things: nobody here can know which is right. A copy that
    was rejected by itself says something different, too."""
    differing = f"SELECT key FROM {CHANGE} WHERE run_id = %s GROUP BY key HAVING count(DISTINCT canonical_fingerprint) > 1"
    rejected = f"SELECT key FROM {REJECTED} WHERE run_id = %s"
    _reject_staged(f"run_id = %s AND (key IN ({differing}) OR key IN ({rejected}))", [run.pk] * 3)


def _reject_staged(condition: str, params: Sequence[Any]) -> None:
    """Turn staged changes into rejected records. They keep the canonical form: it is what the copies differ in."""
    raw = "convert_to(after::text, 'UTF8')" if connection.vendor == "postgresql" else "CAST(after AS blob)"
    execute(
        f"INSERT INTO {REJECTED} (run_id, key, rule, field, reason, raw, raw_bytes, amount, page, position) "
        f"SELECT run_id, key, '{DIFFERING_COPIES_RULE}', '', %s, substr({raw}, 1, {MAX_RAW_BYTES}), length({raw}), "
        f"amount_after, 0, 0 FROM {CHANGE} WHERE {condition}",
        [DIFFERING_COPIES, *params],
    )
    execute(f"DELETE FROM {CHANGE} WHERE {condition}", params)


def _settle_copies_of_known(run: SyncRun, stream: Stream, extract: Extract, certificate: Certificate) -> None:
    """Copies again, where one of them looks as it did last time and so was never staged: one that means the same is
    dropped, one that differs is rejected together with the known one."""
    for chunk in in_chunks(_staged_beside_known(run, stream, extract)):
        same = Change.objects.filter(pk__in=[change for change, _, is_same in chunk if is_same])
        certificate.sums.copies += _total(same, "amount_after")
        certificate.counts.copies += same.delete()[0]
        differing = {link for _, link, is_same in chunk if not is_same}
        for link in SyncLink.objects.filter(pk__in=differing).select_related("change"):
            _reject_known(run, link, extract, certificate)


def _staged_beside_known(run: SyncRun, stream: Stream, extract: Extract) -> list[tuple[int, int, bool]]:
    """Staged changes whose link's record came in its known form too: change, link, and whether they mean the same."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT change.id, link.id, link.raw_fingerprint, "
            "change.canonical_fingerprint = link.canonical_fingerprint "
            f"FROM {CHANGE} AS change JOIN {LINK} AS link ON link.stream_id = %s AND link.key = change.key "
            "WHERE change.run_id = %s",
            [stream.pk, run.pk],
        )
        return [
            (change, link, bool(is_same))
            for change, link, raw, is_same in cursor
            if extract.known.times_seen(bytes(raw))
        ]


def _reject_known(run: SyncRun, link: SyncLink, extract: Extract, certificate: Certificate) -> None:
    times = extract.known.times_seen(bytes(link.raw_fingerprint))
    raw = orjson.dumps(link.change.after if link.change else None)
    RejectedRecord.objects.bulk_create(
        RejectedRecord(
            run=run,
            key=link.key,
            rule=DIFFERING_COPIES_RULE,
            reason=DIFFERING_COPIES,
            raw=raw[:MAX_RAW_BYTES],
            raw_bytes=len(raw),
            amount=link.amount,
        )
        for _ in range(times)
    )
    _reject_staged("run_id = %s AND key = %s", [run.pk, link.key])
    certificate.counts.unchanged -= 1
    certificate.sums.unchanged -= link.amount
    certificate.counts.copies -= times - 1
    certificate.sums.copies -= link.amount * (times - 1)


def _drop_identical_copies(run: SyncRun, certificate: Certificate) -> None:
    """Of copies that all say the same, keep the first."""
    earlier = Change.objects.filter(run=run, key=OuterRef("key"), pk__lt=OuterRef("pk"))
    copies = Change.objects.filter(Exists(earlier), run=run)
    certificate.sums.copies += _total(copies, "amount_after")
    certificate.counts.copies += copies.delete()[0]


def _match_with_links(run: SyncRun, stream: Stream) -> None:
    """Give each staged row its action against the last applied state, what was there before, and the money it moves."""
    dataset = DATASETS[stream.dataset]
    before = "CASE WHEN link.object_id IS NULL THEN 0 ELSE link.amount END"
    after = "CASE WHEN change.action = 'void' OR change.object_id IS NULL THEN 0 ELSE change.amount_after END"
    largest = "greatest" if connection.vendor == "postgresql" else "max"
    line, line_before = dataset.line_of("change.after"), dataset.line_of("previous.after")
    execute(
        f"UPDATE {CHANGE} AS change SET "
        "action = CASE "
        # What a person undid stays undone while the source says the same.
        "WHEN link.pinned = change.canonical_fingerprint THEN 'same' "
        "WHEN link.live AND change.action = 'void' THEN 'void' "
        "WHEN link.live AND change.canonical_fingerprint = link.canonical_fingerprint THEN 'same' "
        "WHEN link.live THEN 'modify' "
        "WHEN change.action = 'void' THEN 'same' "
        "ELSE 'create' END, "
        "before = CASE WHEN link.live THEN previous.after END, "
        "amount_before = CASE WHEN link.live THEN link.amount END, "
        "moved = CASE "
        # Two students' bills move, each by all of it.
        f"WHEN previous.student_id <> change.student_id THEN abs({after}) + abs({before}) "
        f"WHEN link.object_id IS NOT NULL AND {line} <> {line_before} THEN {largest}(abs({after}), abs({before})) "
        f"ELSE abs({after} - {before}) END "
        f"FROM {LINK} AS link LEFT JOIN {CHANGE} AS previous ON previous.id = link.change_id "
        "WHERE change.run_id = %s AND link.stream_id = %s AND link.key = change.key",
        [run.pk, stream.pk],
    )
    # A record that says it is no more, and that was never here, changes nothing.
    execute(
        f"UPDATE {CHANGE} AS change SET action = 'same' WHERE change.run_id = %s AND change.action = 'void' "
        f"AND NOT EXISTS (SELECT 1 FROM {LINK} AS link WHERE link.stream_id = %s AND link.key = change.key)",
        [run.pk, stream.pk],
    )
    # The id that was reserved for a row that turns out to change nothing stays unused.
    execute(
        f"UPDATE {CHANGE} SET object_id = NULL, moved = 0 "
        "WHERE run_id = %s AND action = 'same' AND (object_id IS NOT NULL OR moved <> 0)",
        [run.pk],
    )


def _void_absent(run: SyncRun, stream: Stream, extract: Extract, unseen: str) -> None:
    """Add a voiding change for each live record that the feed no longer has, within what it was asked for and outside
    closed terms.

    A record that came, though it was rejected, is not absent. What was not loaded as known can only be recognised
    by its key.
    """
    # A join and not `IN`: beside OR, PostgreSQL would search the set anew for each link once it outgrows work_mem.
    unlooked = "AND (link.raw_fingerprint = %s OR unseen.id IS NOT NULL) " if extract.known.is_loaded else ""
    execute(
        f"INSERT INTO {CHANGE} (run_id, action, is_absent, key, student_id, raw_fingerprint, "
        "canonical_fingerprint, amount_before, moved, before) "
        "SELECT %s, 'void', TRUE, link.key, previous.student_id, link.raw_fingerprint, "
        "link.canonical_fingerprint, link.amount, CASE WHEN link.object_id IS NULL THEN 0 ELSE abs(link.amount) END, "
        "previous.after "
        f"FROM {LINK} AS link JOIN {CHANGE} AS previous ON previous.id = link.change_id "
        f"LEFT JOIN {unseen} AS unseen ON unseen.id = link.id "
        f"WHERE link.stream_id = %s AND link.live AND link.scope = %s "
        f"AND (link.pinned IS NULL OR link.pinned <> %s) {unlooked}"
        f"AND NOT EXISTS (SELECT 1 FROM {CHANGE} AS staged WHERE staged.run_id = %s AND staged.key = link.key) "
        f"AND NOT EXISTS (SELECT 1 FROM {REJECTED} AS rejected "
        "WHERE rejected.run_id = %s AND rejected.key = link.key) "
        f"AND NOT ({DATASETS[stream.dataset].is_in_closed_term('previous.after')})",
        [run.pk, stream.pk, stream.scope, ABSENT, *([b""] if unlooked else []), run.pk, run.pk],
    )


def count_plan(run: SyncRun, stream: Stream, certificate: Certificate) -> None:
    """Count and sum what the plan holds, and what is live before it."""
    counts, sums = certificate.counts, certificate.sums
    rows = (
        Change.objects.filter(run=run)
        .order_by()
        .values_list("action", "is_absent")
        .annotate(count=Count("id"), after=Sum("amount_after"), before=Sum("amount_before"))
    )
    for action, is_absent, count, amount_after, amount_before in rows:
        after, before = int(amount_after or 0), int(amount_before or 0)
        if action == ChangeAction.CREATE:
            counts.created, sums.created = count, after
        elif action == ChangeAction.MODIFY:
            counts.modified = counts.modified_before = count
            sums.modified, sums.modified_before = after, before
        elif action in (ChangeAction.SAME, ChangeAction.KEEP):
            if not is_absent:  # what is missing was not read
                counts.unchanged += count
                sums.unchanged += after
        elif is_absent:
            counts.absent, sums.absent = count, before
        else:
            counts.cancelled = counts.cancelled_before = count
            sums.cancelled, sums.cancelled_before = after, before
    rejections = RejectedRecord.objects.filter(run=run)
    counts.rejected, sums.rejected = rejections.count(), _total(rejections, "amount")
    live = stream.links.filter(live=True)
    counts.live_before, sums.live_before = live.count(), _total(live, "amount")


@transaction.atomic
def weigh_plan(run: SyncRun) -> None:
    """Give the plan's changes the money that they move, where their own amounts do not say it: guards look at it."""
    moved = DATASETS[run.stream.dataset].money_moved(run)
    for chunk in in_chunks(moved.items()):
        Change.objects.bulk_update([Change(pk=pk, moved=minor) for pk, minor in chunk], ["moved"])


def _total(rows: Any, column: str) -> int:
    return int(rows.aggregate(total=Sum(column))["total"] or 0)
