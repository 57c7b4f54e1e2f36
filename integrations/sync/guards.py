"""Guards: whether a plan is ordinary enough to be applied without a person.

Only the limits that a connection's document names are checked. A share and its number trip together: ten percent of
five records is nothing to stop for, and neither is eleven of ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from django.conf import settings
from django.db.models import BigIntegerField, Case, ExpressionWrapper, Max, Sum, Value, When
from django.db.models.functions import Abs, Coalesce
from pydantic import BaseModel, ConfigDict, Field

from integrations.models import Change, Stream, SyncRun
from integrations.models.plan import ChangeAction
from integrations.sync.certificate import Certificate
from registration.money import display, to_minor


class GuardLimits(BaseModel):
    """The `guards` of a connection document. Shares are 0 to 1, money in currency units."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    first_load: Literal["hold", "apply"] = "apply"
    max_void_share: float | None = Field(default=None, ge=0, le=1)
    max_void_count: int | None = Field(default=None, ge=0)
    max_modified_share: float | None = Field(default=None, ge=0, le=1)
    max_modified_count: int | None = Field(default=None, ge=0)
    max_gross_change_share: float | None = Field(default=None, ge=0, le=1)
    max_gross_change: Decimal | None = Field(default=None, ge=0)
    max_student_change: Decimal | None = Field(default=None, ge=0)

    @property
    def has_money_limit(self) -> bool:
        return self.has_gross_limit or self.max_student_change is not None

    @property
    def has_gross_limit(self) -> bool:
        return self.max_gross_change is not None or self.max_gross_change_share is not None


@dataclass(frozen=True)
class Movement:
    """How much money a plan moves, in minor units: in all, swaps not hidden, and for the student it moves most for."""

    gross: int
    largest_for_a_student: int


def tripped_guards(run: SyncRun, stream: Stream, certificate: Certificate) -> list[str]:
    """Return a sentence for each guard that the plan trips: what it would do, and by how much that is too much."""
    limits = GuardLimits.model_validate(stream.connection.guards)
    counts = certificate.counts
    sentences = [
        _first_load(limits, certificate),
        _share(
            "void",
            counts.cancelled + counts.absent,
            counts.live_before,
            limits.max_void_share,
            limits.max_void_count,
        ),
        _share(
            "modify",
            counts.modified,
            counts.live_before,
            limits.max_modified_share,
            limits.max_modified_count,
        ),
        *(_money(limits, movement_of(run), certificate) if limits.has_money_limit else []),
    ]
    return [sentence for sentence in sentences if sentence]


def _first_load(limits: GuardLimits, certificate: Certificate) -> str:
    counts = certificate.counts
    if limits.first_load == "apply" or counts.live_before or not counts.created:
        return ""
    return f"This is the first load: it would create {counts.created:,} records where there were none."


def _share(verb: str, count: int, live: int, max_share: float | None, max_count: int | None) -> str:
    if max_share is None and max_count is None:
        return ""
    over_share = count > (max_share or 0) * live
    over_count = count > (max_count or 0)
    if not (over_share and over_count):
        return ""
    share = f"{count / live:.1%}" if live else "all"
    return f"It would {verb} {count:,} of {live:,} live records ({share})."


def _money(limits: GuardLimits, movement: Movement, certificate: Certificate) -> list[str]:
    currency = settings.CURRENCY
    live = certificate.sums.live_before
    sentences = []
    over_share = movement.gross > Decimal(str(limits.max_gross_change_share or 0)) * abs(live)
    over_amount = movement.gross > to_minor(limits.max_gross_change or 0, currency)
    if limits.has_gross_limit and over_share and over_amount:
        sentences.append(
            f"It would move {display(movement.gross, currency)} where {display(live, currency)} is live."
        )
    if limits.max_student_change is not None:
        limit = to_minor(limits.max_student_change, currency)
        if movement.largest_for_a_student > limit:
            sentences.append(
                f"It would move {display(movement.largest_for_a_student, currency)} for a single student "
                f"(the limit is {display(limit, currency)})."
            )
    return sentences


def movement_of(run: SyncRun) -> Movement:
    """Sum the absolute changes of the plan, in the database."""
    minor = BigIntegerField()
    after = Case(
        When(action=ChangeAction.VOID, then=Value(0)), default=Coalesce("amount_after", 0), output_field=minor
    )
    moved = Abs(ExpressionWrapper(after - Coalesce("amount_before", 0), output_field=minor))
    changes = Change.objects.filter(run=run).effective().order_by()
    by_student = changes.values("student_id").annotate(moved=Sum(moved))
    return Movement(
        gross=int(changes.aggregate(total=Sum(moved))["total"] or 0),
        largest_for_a_student=int(by_student.aggregate(largest=Max("moved"))["largest"] or 0),
    )
