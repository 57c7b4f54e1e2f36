"""What must hold after every round, whatever was killed in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count, Sum

from audit.models import AuditEvent
from audit.sealing import seal_events
from audit.verification import verify_trail
from integrations.alerts import Incident
from integrations.models import Alert, Change, RunLease, SyncLink, SyncRun
from integrations.models.run import RunStatus
from integrations.sync.verification import verify_ledger
from registration.models import LedgerEntry
from tests.chaos.source import Source

_ENDS = {
    RunStatus.APPLIED: "sync_run.applied",
    RunStatus.FAILED: "sync_run.failed",
    RunStatus.CANCELLED: "sync_run.cancelled",
}


def broken(source: Source, first_run: int) -> list[str]:
    """Say, one sentence each, what does not hold; `first_run` is the first run of the round."""
    runs = list(SyncRun.objects.filter(pk__gte=first_run).select_related("stream__connection"))
    return [
        *_ledger(source),
        *(sentence for run in runs for sentence in (*_ended(run), *_changes(run), *_events(run))),
        *_alerts(),
        *(fault.sentence for fault in verify_ledger().faults),
        *_trail(),
    ]


def _ledger(source: Source) -> Iterator[str]:
    """The ledger equals the source, record by record."""
    for name, office in source.offices.items():
        links = SyncLink.objects.filter(stream__connection__slug=name, live=True)
        entries = LedgerEntry.objects.in_bulk([link.object_id for link in links if link.object_id])
        found = {}
        for link in links:
            entry = entries.get(link.object_id or 0)
            if entry is None or entry.state == "void":
                yield f"{name}: record {link.key} is live and stands on no bill."
            else:
                found[link.key] = (entry.account.student.number, entry.amount_minor)
        if found != office.bills and SyncRun.objects.filter(stream__connection__slug=name).exists():
            differing = sorted(set(found.items()) ^ set(office.bills.items()))
            yield f"{name}: the ledger is not what the source says: {differing[:4]}"
    posted = LedgerEntry.objects.exclude(state="void").count()
    if posted != SyncLink.objects.filter(live=True).count():
        yield f"{posted} entries are live, and not as many records."


def _ended(run: SyncRun) -> Iterator[str]:
    if run.status not in _ENDS:
        yield f"Run {run.pk} is {run.status}."
    if run.status == RunStatus.APPLIED:
        sums = run.certificate["sums"]
        live = sums["live_before"] + sums["created"] + sums["modified"] - sums["modified_before"]
        if live - sums["voided"] != sums["live_after"]:
            yield f"Run {run.pk}: its certificate does not hold in money."


def _changes(run: SyncRun) -> Iterator[str]:
    """One Change row for each applied change, and none of what was not applied."""
    changes = Change.objects.filter(run=run)
    if run.status != RunStatus.APPLIED:
        if changes.exists():
            yield f"Run {run.pk} is {run.status} and has changes."
        return
    twice = changes.values("key").annotate(times=Count("id")).filter(times__gt=1)
    if twice.exists():
        yield f"Run {run.pk} has more than one change of a record."
    if changes.count() != run.created + run.modified + run.voided:
        yield f"Run {run.pk} counts {run.created + run.modified + run.voided} changes and has {changes.count()}."
    posted = LedgerEntry.objects.filter(posted_run=run.pk).aggregate(n=Count("id"), total=Sum("amount_minor"))
    expected = changes.filter(action__in=["create", "modify"]).aggregate(
        n=Count("id"), total=Sum("amount_after")
    )
    if posted != expected:
        yield f"Run {run.pk} was to post {expected} and posted {posted}."


def _events(run: SyncRun) -> Iterator[str]:
    """Each thing that happened to the run is on the trail once."""
    events = AuditEvent.objects.filter(subject_type="integrations.syncrun", subject_id=str(run.pk))
    told = Counter(events.values_list("action", flat=True))
    for action in ("sync_run.requested", _ENDS.get(RunStatus(run.status), "")):
        if action and told[action] != 1:
            yield f"Run {run.pk} is {run.status}, and {action} is on the trail {told[action]} times."
    others = sum(told[action] for action in _ENDS.values()) - 1
    if others:
        yield f"Run {run.pk} has ended more than once: {dict(told)}."
    lease = RunLease.objects.filter(run=run).first()
    if lease and lease.fence - 1 != told["sync_run.taken_over"]:
        yield f"Run {run.pk} has fence {lease.fence} and was taken over {told['sync_run.taken_over']} times."


def _alerts() -> Iterator[str]:
    """A failure is told once, and nothing is told once all is well.

    The failures of all rounds are counted: one that follows another within minutes adds to the alert of that one.
    """
    failed = SyncRun.objects.filter(status=RunStatus.FAILED).count()
    alerts = Alert.objects.filter(incident__startswith=f"{Incident.SYNC}:")
    told = alerts.aggregate(total=Sum("times"))["total"] or 0
    if told != failed:
        yield f"{failed} runs have failed, and alerts have told of {told}."
    # That beat or the workers were away is told for an hour after they are back: here they were killed on purpose.
    open_alerts = Alert.objects.open().exclude(incident__in=[Incident.BEAT, Incident.WORKER])
    if still_open := list(open_alerts.values_list("title", flat=True)):
        yield f"Alerts are open though all is well: {still_open}"


def _trail() -> Iterator[str]:
    seal_events(whole=True)
    yield from (f"The trail: {fault}" for fault in verify_trail().faults)
