"""Enrollments: one enrolls, and one drops."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from audit.admin import LooksAreAudited
from registration import operations
from registration.admin.kept import KeptAdmin
from registration.admin.own_college import OwnCollegeOnly
from registration.models import Enrollment


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
class EnrollmentAdmin(OwnCollegeOnly, LooksAreAudited, KeptAdmin):
    student_key = "student_id"
    student_number = "student.number"
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
