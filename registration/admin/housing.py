"""Housing assignments: recorded and corrected by hand, their contact data behind a permission and an audited look."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from audit.admin import LooksAreAudited
from registration import operations
from registration.admin.kept import KeptAdmin
from registration.models import HousingAssignment
from registration.models.housing import CONTACT_FIELDS

_FIELDS: Final = [
    "student",
    "term",
    "hall",
    "room",
    "status",
    "on_campus",
    "move_in_on",
    "move_out_on",
    "reference",
]


def may_see_contact(request: HttpRequest) -> bool:
    """Whether this person may look at residence addresses and emergency contacts."""
    return request.user.has_perm("registration.view_contact_housingassignment")


@admin.register(HousingAssignment)
class HousingAssignmentAdmin(LooksAreAudited, KeptAdmin):
    student_number = "student.number"
    list_display = ["student", "term", "hall", "room", "status", "on_campus", "move_in_on", "move_out_on"]
    list_filter = ["term", "status", "on_campus", "hall"]
    list_select_related = ["student", "term"]
    search_fields = ["student__number", "hall", "=reference"]
    autocomplete_fields = ["student"]
    records_additions = False
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: HousingAssignment | None = None) -> list[Any]:
        """A contact is written with a new row; afterwards it is seen by asking for it, never by the way."""
        return [*_FIELDS, *(CONTACT_FIELDS if obj is None and may_see_contact(request) else ())]

    def get_readonly_fields(self, request: HttpRequest, obj: HousingAssignment | None = None) -> list[str]:
        return ["student", "term"] if obj is not None else []

    def save_model(
        self, request: HttpRequest, obj: HousingAssignment, form: ModelForm[HousingAssignment], change: bool
    ) -> None:
        obj.pk = operations.record_assignment(obj).pk

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The operation has left its own event."""
        return admin.ModelAdmin.log_change(self, request, obj, message)

    def get_urls(self) -> list[URLPattern]:
        contact = self.admin_site.admin_view(self.contact)
        return [
            path("<int:pk>/contact/", contact, name="registration_housingassignment_contact"),
            *super().get_urls(),
        ]

    def contact(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the contact data of one assignment, and keep in the trail who looked."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not may_see_contact(request):
            raise PermissionDenied
        assignment = get_object_or_404(HousingAssignment.objects.select_related("student", "term"), pk=pk)
        shown = operations.contact_of(assignment)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Contact of {assignment.student}",
            "assignment": assignment,
            "contact": [(name.replace("_", " "), value) for name, value in shown.items()],
        }
        response = TemplateResponse(request, "admin/registration/housingassignment/contact.html", context)
        response["Cache-Control"] = "no-store"
        return response
