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
from django.db.models import BigIntegerField, Case, ExpressionWrapper, Max, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Abs, Coalesce
from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.models import Change, Stream, SyncRun
from integrations.models.plan import ChangeAction
from integrations.sync.certificate import Certificate
from registration.money import display, to_minor


class GuardLimits(BaseModel):
    """The `guards` of a connection document. Shares are 0 to 1, money in currency units. What a document does not name
    is not checked (docs/decisions/0006)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    first_load: Literal["hold", "apply"] = "apply"
    max_void_share: float | None = Field(default=None, ge=0, le=1)
    max_void_count: int | None = Field(default=None, ge=0)
    max_modified_share: float | None = Field(default=None, ge=0, le=1)
    max_modified_count: int | None = Field(default=None, ge=0)
    max_gross_change_share: float | None = Field(default=None, ge=0, le=1)
    max_gross_change: Decimal | None = Field(default=None, ge=0)
    max_student_change: Decimal | None = Field(default=None, ge=0)

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
    limits: GuardLimits
    certificate: Certificate


def tripped_guards(run: SyncRun, stream: Stream, certificate: Certificate) -> list[Trip]:
    """Return each guard that the plan trips."""
    case = _Case(run, GuardLimits.model_validate(stream.connection.guards), certificate)
    sentences = ((guard, check(case)) for guard, (check, _) in _GUARDS.items())
    return [Trip(guard, sentence) for guard, sentence in sentences if sentence]


def part_that_tripped(run: SyncRun) -> QuerySet[Change]:
    """The changes of a held plan that its guards tripped over: what is left out when the rest is applied."""
    part = Q(pk__in=[])
    for trip in run.trips:
        _, part_of = _GUARDS[trip["guard"]]
        part |= part_of(run)
    return run.changes.filter(part)


# --- the guards -------------------------------------------------------------------------------------------


def _first_load(case: _Case) -> str:
    counts = case.certificate.counts
    if case.limits.first_load == "apply" or counts.live_before or not counts.created:
        return ""
    return f"This is the first load: it would create {counts.created:,} records where there were none."


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
    limit = f"{max_share or 0:.0%} and {max_count or 0:,} records"
    return f"It would {verb} {count:,} of {live:,} live records ({share}); the limit is {limit}."


def _gross_change(case: _Case) -> str:
    limits = case.limits
    if limits.max_gross_change is None and limits.max_gross_change_share is None:
        return ""
    live = abs(case.certificate.sums.live_before)
    gross = int(_moving(case.run).aggregate(total=Sum("moved"))["total"] or 0)
    over_share = gross > Decimal(str(limits.max_gross_change_share or 0)) * live
    if not over_share or gross <= to_minor(limits.max_gross_change or 0, settings.CURRENCY):
        return ""
    limit = f"{limits.max_gross_change_share or 0:.0%} and {limits.max_gross_change or 0:,f}"
    return (
        f"It would move {display(gross, settings.CURRENCY)}, swaps counted on both sides, "
        f"where {display(live, settings.CURRENCY)} is live; the limit is {limit}."
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


def _moving(run: SyncRun) -> QuerySet[Change, Any]:
    """The plan's changes with how much money each moves, in minor units."""
    moving: QuerySet[Change, Any] = with_movement(run.changes.effective()).filter(moved__gt=0).order_by()
    return moving


def with_movement(changes: QuerySet[Change, Change]) -> Any:
    """Annotate changes with `moved`: the absolute difference that each makes, in minor units."""
    minor = BigIntegerField()
    after = Case(
        When(action=ChangeAction.VOID, then=Value(0)), default=Coalesce("amount_after", 0), output_field=minor
    )
    difference = ExpressionWrapper(after - Coalesce("amount_before", 0), output_field=minor)
    return changes.annotate(moved=Abs(difference))


def _by_student(run: SyncRun) -> Any:
    return _moving(run).values("student_id").annotate(total=Sum("moved"))


def _students_over(run: SyncRun) -> Q:
    limits = GuardLimits.model_validate(run.stream.connection.guards)
    limit = to_minor(limits.max_student_change or 0, settings.CURRENCY)
    return Q(student_id__in=_by_student(run).filter(total__gt=limit).values("student_id"))


# Each guard: what it says when it trips, and which changes are the part that tripped it.
_GUARDS: Final[dict[str, tuple[Callable[[_Case], str], Callable[[SyncRun], Q]]]] = {
    "first_load": (_first_load, lambda _: Q(action=ChangeAction.CREATE)),
    "voids": (_voids, lambda _: Q(action=ChangeAction.VOID)),
    "modifications": (_modifications, lambda _: Q(action=ChangeAction.MODIFY)),
    "gross_change": (_gross_change, lambda run: Q(pk__in=_moving(run).values("pk"))),
    "student_change": (_student_change, _students_over),
}
