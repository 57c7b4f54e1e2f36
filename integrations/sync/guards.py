"""Guards: whether a plan is ordinary enough to be applied without a person.

A share and its number trip together: ten percent of five records is nothing to stop for, and neither is eleven of ten
thousand. Each guard says in one sentence what tripped it, and which changes are the part that did, so that the rest can
be applied without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from django.conf import settings
from django.db.models import Max, Q, QuerySet, Sum
from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.datasets import DATASETS
from integrations.models import Change, Stream, SyncRun
from integrations.models.connection import ConflictPolicy
from integrations.models.plan import ChangeAction
from integrations.sync.certificate import Certificate
from registration.money import display, to_minor


class GuardLimits(BaseModel):
    """The `guards` of a connection document. Shares are 0 to 1, money in currency units. What a document does not name
    is as it stands here, or as the dataset says; null switches one off. A share and its number trip together, so with
    one of them off the other decides alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    first_load: Literal["hold", "apply"] = "hold"
    max_void_share: float | None = Field(default=0.10, ge=0, le=1)
    max_void_count: int | None = Field(default=10, ge=0)
    max_modified_share: float | None = Field(default=0.10, ge=0, le=1)
    max_modified_count: int | None = Field(default=10, ge=0)
    max_gross_change_share: float | None = Field(default=0.20, ge=0, le=1)
    max_gross_change: Decimal | None = Field(default=Decimal(10_000), ge=0)
    max_student_change: Decimal | None = Field(default=Decimal(50_000), ge=0)

    @classmethod
    def of(cls, stream: Stream) -> GuardLimits:
        """The limits of a stream: its connection's, else its dataset's own, else the usual ones."""
        return cls.model_validate({**DATASETS[stream.dataset].guard_defaults, **stream.connection.guards})

    @field_validator("max_gross_change", "max_student_change")
    @classmethod
    def _is_money(cls, value: Decimal | None) -> Decimal | None:
        if value is not None:
            to_minor(value, settings.CURRENCY)
        return value


@dataclass(frozen=True)
class Trip:
    """A guard that a plan trips, and why, in one sentence."""

    guard: str
    sentence: str

    def as_json(self) -> dict[str, str]:
        return {"guard": self.guard, "sentence": self.sentence}


@dataclass(frozen=True)
class _Case:
    """What the guards look at."""

    run: SyncRun
    stream: Stream
    limits: GuardLimits
    certificate: Certificate


def tripped_guards(run: SyncRun, stream: Stream, certificate: Certificate) -> list[Trip]:
    """Return each guard that the plan trips."""
    case = _Case(run, stream, GuardLimits.of(stream), certificate)
    sentences = ((guard, check(case)) for guard, (check, _) in _GUARDS.items())
    return [Trip(guard, sentence) for guard, sentence in sentences if sentence]


def part_that_tripped(run: SyncRun) -> QuerySet[Change]:
    """The changes of a held plan that its guards tripped over: what is left out when the rest is applied. Where a
    student is moved whole, all of what changes for a student is left out."""
    part = Q(pk__in=[])
    for trip in run.trips:
        _, part_of = _GUARDS[trip["guard"]]
        part |= part_of(run)
    tripped = run.changes.filter(part)
    if not DATASETS[run.stream.dataset].moves_students_whole:
        return tripped
    return run.changes.filter(student_id__in=tripped.values("student_id"))


# --- the guards -------------------------------------------------------------------------------------------


def _first_load(case: _Case) -> str:
    counts = case.certificate.counts
    if case.limits.first_load == "apply" or not DATASETS[case.stream.dataset].has_money:
        return ""
    if counts.live_before or not counts.created:
        return ""
    return f"This is the first load: it would create {_records(counts.created)} where there were none."


def _empty(case: _Case) -> str:
    """An empty answer to the question for what has changed is normal; an empty feed where there was one is not."""
    counts = case.certificate.counts
    if counts.read or not counts.absent:
        return ""
    return f"The feed is empty: it would void {_records(counts.absent)} that it should still bring."


def _conflicts(case: _Case) -> str:
    if case.stream.connection.conflicts != ConflictPolicy.HOLD:
        return ""
    count = case.run.changes.effective().in_conflict().count()
    if not count:
        return ""
    return (
        f"It would overwrite {_records(count)} that somebody edited by hand since the last sync: "
        "which counts is for a person to say."
    )


def _voids(case: _Case) -> str:
    counts, limits = case.certificate.counts, case.limits
    return _share(
        "void",
        counts.cancelled + counts.absent,
        counts.live_before,
        limits.max_void_share,
        limits.max_void_count,
    )


def _modifications(case: _Case) -> str:
    counts, limits = case.certificate.counts, case.limits
    return _share(
        "modify", counts.modified, counts.live_before, limits.max_modified_share, limits.max_modified_count
    )


def _share(verb: str, count: int, live: int, max_share: float | None, max_count: int | None) -> str:
    if max_share is None and max_count is None:
        return ""
    if count <= (max_share or 0) * live or count <= (max_count or 0):
        return ""
    share = f"{count / live:.1%}" if live else "all"
    limits = [
        *([f"{max_share:.0%}"] if max_share is not None else []),
        *([_records(max_count)] if max_count is not None else []),
    ]
    return (
        f"It would {verb} {count:,} of {live:,} live records ({share}); the limit is {' and '.join(limits)}."
    )


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _gross_change(case: _Case) -> str:
    limits, currency = case.limits, settings.CURRENCY
    if limits.max_gross_change is None and limits.max_gross_change_share is None:
        return ""
    if not case.certificate.counts.live_before:
        return ""  # whether the first load waits is said by its own guard: a share of nothing says nothing
    gross = int(case.run.changes.effective().aggregate(total=Sum("moved"))["total"] or 0)
    if gross <= to_minor(limits.max_gross_change or 0, currency):
        return ""
    live = DATASETS[case.stream.dataset].live_money(case.stream)
    if gross <= Decimal(str(limits.max_gross_change_share or 0)) * live:
        return ""
    parts = [
        *([f"{limits.max_gross_change_share:.0%}"] if limits.max_gross_change_share is not None else []),
        *(
            [display(to_minor(limits.max_gross_change, currency), currency)]
            if limits.max_gross_change is not None
            else []
        ),
    ]
    return (
        f"It would move {display(gross, currency)}, swaps counted on both sides, "
        f"where {display(live, currency)} is live; the limit is {' and '.join(parts)}."
    )


def _student_change(case: _Case) -> str:
    if case.limits.max_student_change is None:
        return ""
    limit = to_minor(case.limits.max_student_change, settings.CURRENCY)
    students = _by_student(case.run).filter(total__gt=limit)
    count = students.count()
    if not count:
        return ""
    largest = int(students.aggregate(largest=Max("total"))["largest"])
    whom = (
        "a single student"
        if count == 1
        else f"each of {count:,} students, up to {display(largest, settings.CURRENCY)}"
    )
    amount = display(largest, settings.CURRENCY) if count == 1 else "more than the limit"
    return f"It would move {amount} for {whom}; the limit is {display(limit, settings.CURRENCY)}."


def _by_student(run: SyncRun) -> Any:
    return run.changes.effective().order_by().values("student_id").annotate(total=Sum("moved"))


def _students_over(run: SyncRun) -> Q:
    limits = GuardLimits.of(run.stream)
    limit = to_minor(limits.max_student_change or 0, settings.CURRENCY)
    return Q(student_id__in=_by_student(run).filter(total__gt=limit).values("student_id"))


# Each guard: what it says when it trips, and which changes are the part that tripped it.
_GUARDS: Final[dict[str, tuple[Callable[[_Case], str], Callable[[SyncRun], Q]]]] = {
    "first_load": (_first_load, lambda _: Q(action=ChangeAction.CREATE)),
    "empty_feed": (_empty, lambda _: Q(is_absent=True)),
    "conflicts": (_conflicts, lambda _: Q(conflict__isnull=False)),
    "voids": (_voids, lambda _: Q(action=ChangeAction.VOID)),
    "modifications": (_modifications, lambda _: Q(action=ChangeAction.MODIFY)),
    "gross_change": (_gross_change, lambda _: Q(moved__gt=0)),
    "student_change": (_student_change, _students_over),
}
