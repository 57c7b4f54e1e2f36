"""Financial-aid awards: what each disbursement means for a student's bill.

| status    | on the ledger                                              |
|-----------|------------------------------------------------------------|
| offered   | nothing                                                    |
| accepted  | anticipated: shown beside the balance                      |
| disbursed | posted: lowers the balance; a negative amount is an        |
|           | adjustment (returned or reduced aid) and raises it         |
| cancelled | voids what stood there; so does absence from the feed      |

Work-study never posts (it is payroll); an award without a fund_type posts like a grant; enrollment is no condition.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from django.conf import settings
from django.db import models
from django.db.models import Q, Sum
from django.db.models.functions import Abs
from pydantic import Field, StringConstraints, ValidationError, field_validator

from integrations.datasets.base import CanonicalRecord, Dataset, HandEdit, References, StagedRecord, TakenBack
from integrations.datasets.rejection import Rejected, Rejection
from integrations.datasets.terms import TermCodes
from integrations.datasets.text import AsText
from integrations.models import Change, Stream, SyncLink, SyncRun
from registration.bulk import Selection
from registration.models import LedgerEntry, Student, Term
from registration.models.billing import EntryKind, EntryState
from registration.money import NotMoney, display, to_minor
from registration.operations import apply_run_to_ledger

Id = Annotated[str, AsText, StringConstraints(min_length=1, max_length=120)]
Code = Annotated[str, AsText, StringConstraints(min_length=1, max_length=40)]
Name = Annotated[str, AsText, StringConstraints(min_length=1, max_length=200)]

POSTING_STATUSES = frozenset({"accepted", "disbursed"})
# A key is the award's id, this mark and the number of the disbursement. The number has no mark in it, so two
# different pairs never make one key.
KEY_MARK = "#"


class AwardKey(CanonicalRecord):
    """What names one disbursement of one award, however the feed writes it: 1, "1" and "01" are one number."""

    award_id: Id
    disbursement_number: Annotated[int, Field(ge=0, le=9999)] = 1

    @field_validator("disbursement_number", mode="before")
    @classmethod
    def _first_by_default(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("is true or false, where a number is expected")  # noqa: TRY004
        return 1 if value is None else value

    @property
    def key(self) -> str:
        return f"{self.award_id}{KEY_MARK}{self.disbursement_number}"


class AidAward(AwardKey):
    """One disbursement of one award, in the words of `docs/datasets.md`."""

    student_number: Code
    term_code: Code
    fund_code: Code
    fund_name: Name | None = None
    fund_type: Literal["grant", "scholarship", "loan", "work_study", "waiver"] | None = None
    currency: str = Field(default_factory=lambda: settings.CURRENCY)
    amount: int  # in minor units; net of loan fees
    status: Literal["offered", "accepted", "disbursed", "cancelled"]
    disbursed_on: datetime.date | None = None
    updated_at: datetime.datetime | None = None

    @field_validator("currency", mode="before")
    @classmethod
    def _ours_by_default(cls, value: object) -> object:
        return settings.CURRENCY if value is None else value

    @field_validator("currency")
    @classmethod
    def _currency_is_billed(cls, value: str) -> str:
        if value != settings.CURRENCY:
            raise ValueError(f"{value!r} is not the currency that bills are written in ({settings.CURRENCY})")
        return value

    @field_validator("amount", mode="plain")
    @classmethod
    def _amount_in_minor_units(cls, value: object) -> int:
        # The currency is the installation's, or the record is refused for it.
        try:
            return to_minor(value, settings.CURRENCY)
        except NotMoney as error:
            raise ValueError(str(error)) from None


class AidAwards(Dataset):
    name: ClassVar[str] = "aid_awards"
    label: ClassVar[str] = "Financial-aid awards"
    held_by: ClassVar[type[models.Model]] = LedgerEntry
    has_money: ClassVar[bool] = True
    has_amounts: ClassVar[bool] = True
    shown_fields: ClassVar[Sequence[str]] = ("student_number", "term_code", "fund_code", "amount", "status")
    Record: ClassVar[type[CanonicalRecord]] = AidAward

    def key_of(self, values: dict[str, Any]) -> str:
        parts = {name: values[name] for name in AwardKey.model_fields if name in values}
        try:
            return AwardKey.model_validate(parts).key
        except ValidationError:
            return ""

    def find_references(self, records: Sequence[AidAward], stream: Stream) -> References:
        numbers = {record.student_number for record in records}
        # One statement for both, without the sorting that neither needs.
        columns = ("number", "id", "billing_account__currency")
        rows = list(Student.objects.numbered(numbers).order_by().values_list(*columns))
        students = {number: pk for number, pk, _ in rows}
        currencies = {pk: currency for _, pk, currency in rows if currency is not None}
        return References(students, currencies, TermCodes.of(stream.connection))

    def stage(self, record: AidAward, references: References) -> StagedRecord:
        student_id = references.students.get(record.student_number)
        if student_id is None:
            raise Rejected(
                Rejection(
                    "unknown_student",
                    f"There is no student with number {record.student_number}.",
                    "student_number",
                )
            )
        term = references.terms.resolve(record.term_code, record.disbursed_on)
        if student_id not in references.currencies:
            raise Rejected(
                Rejection(
                    "no_billing_account", f"{record.student_number} has no billing account.", "student_number"
                )
            )
        if references.currencies[student_id] != record.currency:
            raise Rejected(
                Rejection(
                    "account_in_other_currency",
                    f"The account of {record.student_number} is kept in {references.currencies[student_id]}, "
                    f"the award is in {record.currency}.",
                    "currency",
                )
            )
        values = {**record.model_dump(mode="json"), "term_code": term}
        return StagedRecord(
            key=record.key,
            student_id=student_id,
            amount=record.amount,
            values=values,
            is_live=record.status != "cancelled",
        )

    def posts(self, values: dict[str, Any]) -> bool:
        is_payroll = values["fund_type"] == "work_study"
        return values["status"] in POSTING_STATUSES and not is_payroll and values["amount"] != 0

    def hand_edits(self, stream: Stream) -> dict[int, HandEdit]:
        """Entries of awards that a person has voided or corrected: the last word on each is theirs."""
        links = stream.links.filter(
            live=True, object_id__in=LedgerEntry.objects.voided_by_hand().values("pk")
        )
        link_of = dict(links.values_list("object_id", "pk"))
        if not link_of:
            return {}
        edited = links.values("object_id")
        touched = LedgerEntry.objects.filter(Q(pk__in=edited) | Q(corrects__in=edited)).order_by("pk")
        reasons: dict[int, str] = {}
        edits = {}
        for entry in touched:
            link = link_of[entry.corrects_id or entry.pk]
            # A correction takes the place of what was voided for it, and for the same reason.
            edits[link] = _edit(entry, reasons.get(link, ""))
            reasons[link] = entry.void_reason
        return edits

    def contradicts(self, says: Mapping[str, Any] | None, edit: HandEdit) -> bool:
        return (None if says is None else says["amount"]) != edit.amount

    def why_left(self, taken: Sequence[TakenBack]) -> dict[int, str]:
        """What was voided by hand since, and aid that has been paid out to the student: taking that off the bill would
        make a debt of a refund."""
        entries = LedgerEntry.objects.in_bulk([each.object_id for each in taken if each.object_id])
        refunds = LedgerEntry.objects.last_refunds({entry.account_id for entry in entries.values()})
        reasons = {}
        for each in taken:
            entry = entries.get(each.object_id or 0)
            if entry is not None and (reason := _why_left(each, entry, refunds.get(entry.account_id))):
                reasons[each.change.pk] = reason
        return reasons

    def live_money(self, stream: Stream) -> int:
        """Returned aid counts like any other."""
        on_bills = stream.links.filter(live=True, object_id__isnull=False)
        return int(on_bills.aggregate(total=Sum(Abs("amount")))["total"] or 0)

    def in_words(self, values: Mapping[str, Any]) -> str:
        return f"{display(values['amount'], values['currency'])}, {values['status']}"

    def land(self, run: SyncRun) -> int:
        """Void what was modified, cancelled or has gone; post what is new and what took its place."""
        _, posted = apply_run_to_ledger(
            run.pk,
            voiding=_entries_to_void(run),
            posting=_entries_to_post(run),
            reason=f"Financial aid, run {run.pk}",
        )
        return posted


def _why_left(taken: TakenBack, entry: LedgerEntry, refunded_at: datetime.datetime | None) -> str:
    if entry.state == EntryState.VOID:
        return f"voided by hand since, by {entry.voided_by}"
    takes_away = (taken.amount or 0) < (taken.change.amount_after or 0)
    if not takes_away or refunded_at is None or refunded_at < entry.posted_at:
        return ""
    return f"refunded to the student on {refunded_at:%Y-%m-%d}"


def _edit(entry: LedgerEntry, reason: str) -> HandEdit:
    if entry.state == EntryState.VOID:
        return HandEdit(None, entry.voided_by, entry.voided_at or entry.posted_at, entry.void_reason)
    # An adjustment is written by its effect on the balance, a record by what the student gets.
    amount = -entry.amount_minor if entry.kind == EntryKind.ADJUSTMENT else entry.amount_minor
    return HandEdit(amount, entry.posted_by, entry.posted_at, reason, {"amount": amount})


def _entries_to_void(run: SyncRun) -> Selection:
    """What stands for the records that change or go: the entries that a sync posted, and what people put in their
    place."""
    change, link, entry = Change._meta.db_table, SyncLink._meta.db_table, LedgerEntry._meta.db_table
    links = (
        f"FROM {change} AS change JOIN {link} AS link ON link.stream_id = %s AND link.key = change.key "
        "{} WHERE change.run_id = %s AND change.action IN ('modify', 'void') AND link.object_id IS NOT NULL"
    )
    correction = f"JOIN {entry} AS correction ON correction.corrects_id = link.object_id"
    return Selection(
        f"SELECT link.object_id {links.format('')} UNION ALL SELECT correction.id {links.format(correction)}",
        [run.stream_id, run.pk, run.stream_id, run.pk],
    )


def _entries_to_post(run: SyncRun) -> Selection:
    """The columns of registration.bulk.POSTED_COLUMNS, read from the plan. `->>` gives text on both databases."""
    change, term = Change._meta.db_table, Term._meta.db_table
    is_adjustment = "change.amount_after < 0"
    return Selection(
        "SELECT change.object_id AS id, change.student_id AS account_id, term.id AS term_id, "
        f"CASE WHEN {is_adjustment} THEN 'adjustment' ELSE 'aid' END AS kind, "
        f"CASE WHEN {is_adjustment} THEN 'aid' ELSE '' END AS adjusts, "
        "CASE change.after ->> 'status' WHEN 'disbursed' THEN 'posted' ELSE 'anticipated' END AS state, "
        "abs(change.amount_after) AS amount_minor, change.after ->> 'currency' AS currency, "
        "change.after ->> 'fund_code' AS code, coalesce(change.after ->> 'fund_name', '') AS description, "
        "change.after ->> 'disbursed_on' AS effective_on, change.id AS posted_change "
        f"FROM {change} AS change JOIN {term} AS term ON term.code = change.after ->> 'term_code' "
        "WHERE change.run_id = %s AND change.action IN ('create', 'modify') AND change.object_id IS NOT NULL",
        [run.pk],
    )
