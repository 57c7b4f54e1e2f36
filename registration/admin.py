"""The admin of registration: the student profile, and the catalogue."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

import audit
from audit.admin import AuditedAdmin, ReadOnlyAdmin
from audit.trails import trail_address
from registration import operations
from registration.models import (
    BillingAccount,
    College,
    CollegeMember,
    Course,
    Enrollment,
    LedgerEntry,
    Program,
    Section,
    Student,
    Term,
)
from registration.money import NotMoney, to_minor
from registration.panels import drawn_panels

ENTRIES_SHOWN = 200


class KeptAdmin(AuditedAdmin):
    """Rows that are corrected by hand and never deleted: history hangs on them."""

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(Student)
class StudentAdmin(KeptAdmin):
    list_display = ["number", "name", "email", "program", "status", "disclosure_hold"]
    list_filter = ["status", "program", "residency", "disclosure_hold"]
    list_select_related = ["program"]
    search_fields = ["number", "given_name", "family_name", "email"]
    show_full_result_count = False
    change_form_template = "admin/registration/student/change_form.html"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        student = self.get_object(request, object_id)
        if student and request.method == "GET" and self.has_view_permission(request, student):
            audit.record("student.viewed", student, detail={"student": student.number})
        context = profile_context(request, student) if student else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})


def profile_context(request: HttpRequest, student: Student) -> dict[str, Any]:
    """What the student profile shows beside the form."""
    account = BillingAccount.objects.filter(student=student).first()
    enrollments = student.enrollments.select_related("section__course", "section__term")
    return {
        "student": student,
        "title": student.name,
        "subtitle": None,
        "totals": account.totals().as_displayed() if account else None,
        "entries": account.entries.select_related("term")[:ENTRIES_SHOWN] if account else [],
        "enrollments": enrollments.order_by("-section__term__starts_on", "section__crn"),
        "panels": drawn_panels(request, student),
        "trail_address": trail_address(student),
    }


class EnrollmentForm(forms.ModelForm[Enrollment]):
    """A student and a section: the rest follows."""

    def clean(self) -> dict[str, Any]:
        """Whoever comes back after dropping takes up the row of then; the operation says whether they may."""
        chosen: dict[str, Any] = super().clean() or {}
        row = Enrollment.objects.filter(student=chosen.get("student"), section=chosen.get("section")).first()
        self.instance = row or self.instance
        return chosen

    class Meta:
        model = Enrollment
        fields = ("student", "section")


@admin.register(Enrollment)
class EnrollmentAdmin(KeptAdmin):
    list_display = ["student", "section", "status", "status_since_at"]
    list_filter = ["status", "section__term"]
    list_select_related = ["student", "section__course", "section__term"]
    search_fields = ["student__number", "section__crn"]
    autocomplete_fields = ["student", "section"]
    form = EnrollmentForm
    records_additions = False
    actions = ["drop_selected"]
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """A row is never edited: one enrolls, and one drops."""
        return obj is None and super().has_change_permission(request, obj)

    def changeform_view(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """A refusal is told above the form, which keeps what was chosen."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except operations.Refused as refusal:
            messages.error(request, str(refusal))
            chosen = {name: request.POST.get(name, "") for name in ("student", "section")}
            return HttpResponseRedirect(f"{request.path}?{urlencode(chosen)}")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        enrolled = operations.enroll(form.cleaned_data["student"], form.cleaned_data["section"])
        obj.pk = enrolled.pk

    @admin.action(description="Drop the selected enrollments")
    def drop_selected(self, request: HttpRequest, queryset: models.QuerySet[Enrollment]) -> None:
        dropped = 0
        for enrollment in queryset:
            try:
                operations.drop(enrollment)
            except operations.Refused as refusal:
                messages.error(request, str(refusal))
            else:
                dropped += 1
        if dropped:
            messages.success(request, f"{dropped} dropped.")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "account",
        "term",
        "kind",
        "state",
        "displayed_amount",
        "code",
        "posted_at",
        "posted_by",
    ]
    list_filter = ["kind", "state", "term"]
    list_select_related = ["account__student", "term"]
    search_fields = ["account__student__number", "=code"]
    show_full_result_count = False
    change_form_template = "admin/registration/ledgerentry/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        edit = self.admin_site.admin_view(self.edit)
        return [
            path("<int:pk>/edit/<str:what>/", edit, name="registration_ledgerentry_edit"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            "may_edit": request.user.has_perm("registration.change_ledgerentry"),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def edit(self, request: HttpRequest, pk: int, what: str) -> HttpResponse:
        """Void an entry, or put another amount in its place, for a reason that is kept."""
        if what not in ("void", "correct"):
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("registration.change_ledgerentry"):
            raise PermissionDenied
        entry = get_object_or_404(LedgerEntry.objects.select_related("account__student"), pk=pk)
        reason = request.POST.get("reason", "").strip()[:500]
        try:
            if what == "void":
                operations.void(entry, reason=reason)
            else:
                amount = to_minor(request.POST.get("amount", "").strip(), entry.currency)
                entry = operations.correct(entry, amount, reason=reason)
        except (operations.Refused, NotMoney) as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:registration_ledgerentry_change", args=[pk]))
        done = "is void" if what == "void" else f"stands on the bill with {entry.displayed_amount}"
        student = reverse("admin:registration_student_change", args=[entry.account_id])
        messages.success(
            request,
            format_html(
                'The entry {}. <a href="{}">See the account of {}</a>.', done, student, entry.account.student
            ),
        )
        return HttpResponseRedirect(reverse("admin:registration_ledgerentry_change", args=[entry.pk]))


@admin.register(Section)
class SectionAdmin(KeptAdmin):
    list_display = ["crn", "course", "term", "capacity"]
    list_filter = ["term"]
    list_select_related = ["course", "term"]
    search_fields = ["crn", "course__code", "course__title"]


@admin.register(Term)
class TermAdmin(KeptAdmin):
    list_display = [
        "code",
        "name",
        "starts_on",
        "ends_on",
        "census_on",
        "is_regular",
        "is_current",
        "is_closed",
    ]


@admin.register(College)
class CollegeAdmin(KeptAdmin):
    list_display = ["code", "name"]
    search_fields = ["code", "name"]


@admin.register(CollegeMember)
class CollegeMemberAdmin(AuditedAdmin):
    """Which college a principal decides for."""

    list_display = ["user", "college"]
    list_select_related = ["user", "college"]


@admin.register(Program)
class ProgramAdmin(KeptAdmin):
    list_display = ["code", "name", "college"]
    list_select_related = ["college"]
    search_fields = ["code", "name"]


@admin.register(Course)
class CourseAdmin(KeptAdmin):
    list_display = ["code", "title", "credits", "college"]
    list_filter = ["college"]
    search_fields = ["code", "title"]
