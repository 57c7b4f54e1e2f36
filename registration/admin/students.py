"""The student profile: account, housing, enrollments, and what may be done about them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

import audit
from audit.admin import LooksAreAudited
from registration import operations
from registration.admin.billing import download
from registration.admin.housing import may_see_contact
from registration.admin.kept import KeptAdmin
from registration.admin.own_college import OwnCollegeOnly
from registration.credit_balances import credit_balances
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import EntryState
from registration.models.housing import LivingArrangement
from registration.money import decimal_text
from registration.panels import drawn_panels
from registration.statement import statement_of

ENTRIES_SHOWN = 200
REFUSALS_SHOWN = 10


@admin.register(Student)
class StudentAdmin(OwnCollegeOnly, LooksAreAudited, KeptAdmin):
    student_number = "number"
    list_display = ["number", "name", "email", "program", "status", "disclosure_hold"]
    list_filter = ["status", "program", "residency", "disclosure_hold"]
    list_select_related = ["program"]
    search_fields = ["number", "given_name", "family_name", "email"]
    show_full_result_count = False
    change_form_template = "admin/registration/student/change_form.html"
    actions = ["graduate_selected"]

    def has_graduate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registration.graduate_student")

    @admin.action(description="Graduate the selected students", permissions=["graduate"])
    def graduate_selected(self, request: HttpRequest, queryset: QuerySet[Student]) -> None:
        numbers = list(queryset.values_list("number", flat=True))
        done = operations.graduate(numbers, reason="Graduated from the list of students.")
        if done.graduated:
            messages.success(request, f"{len(done.graduated):,} graduated.")
        for number, why in list(done.left_out.items())[:REFUSALS_SHOWN]:
            messages.error(request, f"{number} did not graduate: {why}.")
        if len(done.left_out) > REFUSALS_SHOWN:
            messages.error(request, f"And {len(done.left_out) - REFUSALS_SHOWN:,} more did not.")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "<int:pk>/statement/<str:code>/", view(self.statement), name="registration_student_statement"
            ),
            path(
                "<int:pk>/statement/<str:code>/csv/",
                view(self.statement_csv),
                name="registration_student_statement_csv",
            ),
            path("<int:pk>/withdraw/", view(self.withdraw), name="registration_student_withdraw"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        student = self.get_object(request, object_id)
        context = profile_context(request, student) if student else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Student, form: ModelForm[Student], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "residency" in form.changed_data:
            operations.follow_residency(obj)
        if change and "status" in form.changed_data:
            operations.follow_library_access(Student.objects.filter(pk=obj.pk))

    def statement(self, request: HttpRequest, pk: int, code: str) -> HttpResponse:
        """The account of a term, for the screen and for paper."""
        account, term = _account_and_term(request, pk, code)
        statement = statement_of(account, term)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Statement {term}",
            "statement": statement,
        }
        return TemplateResponse(request, "admin/registration/student/statement.html", context)

    def statement_csv(self, request: HttpRequest, pk: int, code: str) -> HttpResponse:
        """The same as a file."""
        account, term = _account_and_term(request, pk, code)
        return download(
            statement_of(account, term).as_csv(), f"statement-{account.student.number}-{term.code}.csv"
        )

    def withdraw(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Withdraw the student from a term: a permission, one operation, a message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("registration.withdraw_student"):
            raise PermissionDenied
        student = get_object_or_404(Student, pk=pk)
        term = get_object_or_404(Term, code=request.POST.get("term", ""))
        try:
            gone = operations.withdraw(student, term, reason=request.POST.get("reason", ""))
        except operations.Refused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"Withdrawn from {len(gone)} sections of {term}.")
        return HttpResponseRedirect(reverse("admin:registration_student_change", args=[pk]))


def _account_and_term(request: HttpRequest, pk: int, code: str) -> tuple[BillingAccount, Term]:
    if not request.user.has_perms(["registration.view_billingaccount", "registration.view_ledgerentry"]):
        raise PermissionDenied
    account = get_object_or_404(BillingAccount.objects.select_related("student__program"), pk=pk)
    audit.record("student.viewed", account.student, detail={"student": account.student.number})
    return account, get_object_or_404(Term, code=code)


def _entries_with_rooms(account: BillingAccount) -> Iterator[tuple[LedgerEntry, datetime.date | None]]:
    """The newest entries, those that are charged for living on campus with the day since when the student does."""
    since = account.student.housing_assignments.on_campus().since()
    for entry in account.entries.select_related("term", "fee_item__schedule__term")[:ENTRIES_SHOWN]:
        item = entry.fee_item
        is_for_living = item is not None and item.schedule.living_arrangement == LivingArrangement.ON_CAMPUS
        is_standing = entry.state != EntryState.VOID
        yield entry, since.get(entry.term_id) if is_for_living and is_standing else None


def profile_context(request: HttpRequest, student: Student) -> dict[str, Any]:
    """What the student profile shows beside the form."""
    account = BillingAccount.objects.filter(student=student).first()
    enrollments = student.enrollments.select_related("section__course", "section__term")
    credit = next(iter(credit_balances([student.pk])), None) if account else None
    return {
        "student": student,
        "title": student.name,
        "subtitle": None,
        "totals": account.totals().as_displayed() if account else None,
        "entries": list(_entries_with_rooms(account)) if account else [],
        "credit": credit,
        "credit_amount": decimal_text(credit.amount_minor, credit.currency) if credit else "",
        "statement_terms": Term.objects.filter(entries__account_id=student.pk).distinct(),
        "waiting_changes": student.fee_changes.waiting().select_related("term"),
        "housing": student.housing_assignments.select_related("term"),
        "may_see_contact": may_see_contact(request),
        "may_refund": request.user.has_perm("registration.refund_billingaccount"),
        "may_withdraw": request.user.has_perm("registration.withdraw_student"),
        "withdrawable": Term.objects.filter(
            is_closed=False,
            sections__enrollments__student=student,
            sections__enrollments__status__in=["enrolled", "waitlisted"],
        ).distinct(),
        "enrollments": enrollments.order_by("-section__term__starts_on", "section__crn"),
        "panels": drawn_panels(request, student),
    }
