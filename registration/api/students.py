"""What partners read of students: those whom they may see, each disclosure on the trail before the answer leaves.

A student outside of the caller's grants is not found, exactly as one who does not exist: the same statement, the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson
from django.db.models.expressions import RawSQL
from django.http import Http404, HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from apiauth.rendering import json_bytes
from apiauth.statements import Statement
from registration import balances, enrollment_facts
from registration.api.lists.answers import answer
from registration.api.lists.fields import Field, Filter, Kind, Resource, parsed
from registration.api.lists.query import fields_of, item_query_of, query_of
from registration.api.lists.sql import Page
from registration.api.lists.views import ListView, ResourceView
from registration.disclosure import record_disclosures
from registration.enrollment_facts import StudentTerm
from registration.enrollment_status import Load, TermStatus
from registration.models import Student, Term
from registration.models.people import StudentQuerySet

# The consumer that a statement finds by its token, beside which it is read (apiauth/bearer.py).
CALLER: Final = RawSQL("(SELECT caller.consumer_id FROM caller)", ())

ENROLLMENT_STATUSES: Final = Resource(
    name="enrollment-statuses",
    one="enrollment-status",
    source="",  # read by registration/enrollment_facts.py
    key="student_number",
    order="student_number",
    fields=(
        Field("student_number", "", Kind.TEXT, "The student's number", is_orderable=True, example="S0000001"),
        Field("term", "", Kind.TEXT, "The code of the term", example="2026FA"),
        Field(
            "status",
            "",
            Kind.TEXT,
            "How the student stands in the term: enrolled with a seat in a section; withdrawn from the term or the "
            "institution; on leave; graduated; none where nothing of these is so",
            values=tuple(TermStatus),
            example="enrolled",
        ),
        Field(
            "load",
            "",
            Kind.TEXT,
            "Of the enrolled: how much of a full-time student's work they have taken on (34 CFR 668.2)",
            is_nullable=True,
            values=tuple(Load),
            example="full_time",
        ),
        Field("credits", "", Kind.DECIMAL, "The credits of the seats, as a decimal string", example="12.00"),
        Field(
            "effective_on",
            "",
            Kind.DATE,
            "Since which day status, load and credits are what they are; no day before the term",
            is_nullable=True,
            example="2026-08-24",
        ),
        Field(
            "updated_at",
            "",
            Kind.INSTANT,
            "When anything changed last that decides about this row",
            example="2026-08-20T14:03:11.482000Z",
        ),
    ),
    more_filters=(
        Filter("term", "", Kind.TEXT, "The code of a term; without it, the current one", example="2026FA"),
        Filter(
            "updated_since",
            "",
            Kind.INSTANT,
            "Only what has changed at this moment or later, also by a grant that is new",
            example="2026-08-20T00:00:00Z",
        ),
    ),
)
ENROLLMENT_TERMS: Final = Resource(
    name="enrollment-status",
    one="enrollment-status",
    source="",
    key="term",
    order="term",
    fields=ENROLLMENT_STATUSES.fields,
)
TERM: Final = Filter(
    "term",
    "",
    Kind.TEXT,
    "The code of a term; without it, the current one and each in which the student took a seat",
    example="2026FA",
)
BALANCE: Final = Resource(
    name="balance",
    one="balance",
    source="",  # read by registration/balances.py
    key="student_number",
    order="student_number",
    fields=(
        Field("student_number", "", Kind.TEXT, "The student's number", example="S0000001"),
        Field("currency", "", Kind.TEXT, "ISO 4217; every amount is in it", example="USD"),
        Field("balance", "", Kind.MONEY, "charges - posted_aid - payments + refunds", example="1820.00"),
        Field("charges", "", Kind.MONEY, "What is charged", example="5812.00"),
        Field("posted_aid", "", Kind.MONEY, "Aid that has been paid out to the account", example="2992.00"),
        Field(
            "anticipated_aid",
            "",
            Kind.MONEY,
            "Aid that was accepted and not yet paid: beside the balance, not in it",
            example="500.00",
        ),
        Field("payments", "", Kind.MONEY, "What was paid", example="1000.00"),
        Field("refunds", "", Kind.MONEY, "What was given back to the student", example="0.00"),
    ),
)


def shown_to_caller() -> StudentQuerySet:
    """The students whom the caller may see, each with the grant that shows them."""
    return Student.objects.visible_to(CALLER).with_grant_to(CALLER)


class EnrollmentStatusList(ListView):
    """How each student whom you may see stands in a term.

    Ask for what has changed with `updated_since`. A change shows once it is committed, which may be a little after its
    `updated_at`: ask from five minutes before your last request, and take what you know already a second time.
    """

    resource = ENROLLMENT_STATUSES
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "enrollment:read"}

    def reading(self) -> Statement:
        self.query = query_of(self.resource, self.request.GET)
        return enrollment_facts.statuses_in_term(self._page(), term=self._filtered("term"))

    def page(self) -> Page:
        rows = enrollment_facts.told(self.found[0])
        _refuse_unknown_term(rows, self._filtered("term"))
        rows = [row for row in rows if row.term is not None]  # there may be no current one
        if not self._goes_up:
            rows.reverse()
        kept = rows[: self.query.page_size]
        record_disclosures("enrollment status", [row.shown for row in kept])
        items = [_item(row, self.query.fields) for row in kept]
        if not kept:
            return Page([], None, None)
        first, last = ((row.shown.number,) for row in (kept[0], kept[-1]))
        beyond = last if len(rows) > len(kept) else None
        if self.query.position is None or self.query.position.is_forward:
            return Page(items, beyond, first if self.query.position else None)
        return Page(items[::-1], first, beyond)

    @property
    def _goes_up(self) -> bool:
        """Whether rows are found by growing numbers, from the position on."""
        is_forward = self.query.position is None or self.query.position.is_forward
        return is_forward != self.query.ordering.is_descending

    def _filtered(self, name: str) -> Any:
        return next((value for each, value in self.query.filters if each.name == name), None)

    def _page(self) -> StudentQuerySet:
        """The students of the page and one more, from the position on."""
        students = shown_to_caller()
        if since := self._filtered("updated_since"):
            students = enrollment_facts.changed_since(students, since, term=self._filtered("term"))
        if self.query.position:
            further = "number__gt" if self._goes_up else "number__lt"
            students = students.filter(**{further: self.query.position.keys[0]})
        return students.order_by("number" if self._goes_up else "-number")[: self.query.page_size + 1]


class StudentView(ResourceView):
    """Something of one student, whose number is in the address."""

    def student(self) -> StudentQuerySet:
        """The student, if the caller may see them. Raises Http404 for what is nobody's number."""
        try:
            number = parsed(str(self.kwargs["student_number"]), Kind.TEXT)
        except ValueError:
            raise Http404 from None
        return shown_to_caller().filter(number=number)


class EnrollmentStatusDetail(StudentView):
    """How one student stands in each term, the newest first."""

    resource = ENROLLMENT_TERMS
    narrowed_by = (TERM,)
    has_results: ClassVar[bool] = True
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "enrollment:read"}

    def reading(self) -> Statement:
        self.fields, filters = item_query_of(self.resource, self.request.GET, self.narrowed_by)
        self.term = filters.get("term")
        return enrollment_facts.statuses_of(self.student(), term=self.term)

    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        self.refuse_fault()
        rows = enrollment_facts.told(self.found[0])
        if not rows:
            raise Http404
        _refuse_unknown_term(rows, self.term)
        record_disclosures("enrollment status", [row.shown for row in rows])
        items = ",".join(_item(row, self.fields) for row in rows if row.term is not None)
        number = orjson.dumps(rows[0].shown.number)
        return answer(request, b'{"student_number":%b,"results":[%b]}' % (number, items.encode()))


class StudentBalance(StudentView):
    """What one student owes: the totals of the account, over all terms."""

    resource = BALANCE
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "billing:read"}

    def reading(self) -> Statement:
        self.fields = fields_of(self.resource, self.request.GET)
        return balances.balance_of(self.student())

    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        self.refuse_fault()
        found = balances.told(self.found[0])
        if found is None:
            raise Http404
        record_disclosures("balance", [found.shown])
        told = {
            "student_number": found.shown.number,
            "currency": found.totals.currency,
            **found.totals.as_decimal_texts(),
        }
        return answer(request, json_bytes({name: told[name] for name in self.fields}))


def _item(row: StudentTerm, fields: Sequence[str]) -> str:
    """One row as the JSON of the fields that are asked for."""
    standing = row.standing
    told = {
        "student_number": row.shown.number,
        "term": row.term,
        "status": standing and standing.status,
        "load": standing and standing.load,
        "credits": standing and f"{standing.credits:.2f}",
        "effective_on": standing and standing.effective_on,
        "updated_at": row.updated_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    return orjson.dumps({name: told[name] for name in fields}).decode()


def _refuse_unknown_term(rows: Sequence[StudentTerm], term: str | None) -> None:
    """Raises ValidationError for a term that there is not, so that nobody takes a slip of the pen for an empty term. The
    rows tell, but where there are none: only then it is asked."""
    if term is None:
        return
    is_known = rows[0].term is not None if rows else Term.objects.filter(code=term).exists()
    if not is_known:
        raise ValidationError({"term": [f"There is no term {term}: /api/v1/terms/ lists them."]})
