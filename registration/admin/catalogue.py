"""Terms with their calendar, sections with their meetings, courses, programs and colleges."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest

from registration import operations
from registration.admin.kept import KeptAdmin
from registration.models import CalendarEvent, College, Course, Program, Section, SectionMeeting, Term
from registration.money import display


class SectionMeetingInline(admin.TabularInline[SectionMeeting, Section]):
    model = SectionMeeting
    extra = 0
    can_delete = False


class CalendarEventInline(admin.TabularInline[CalendarEvent, Term]):
    model = CalendarEvent
    extra = 0
    can_delete = False


@admin.register(Section)
class SectionAdmin(KeptAdmin):
    list_display = ["crn", "course", "term", "capacity"]
    list_filter = ["term"]
    list_select_related = ["course", "term"]
    search_fields = ["crn", "course__code", "course__title"]
    inlines = [SectionMeetingInline]


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
    actions = ["assess_selected"]
    inlines = [CalendarEventInline]

    def has_assess_permission(self, request: HttpRequest) -> bool:
        """Asked by Django before it offers the action below."""
        return request.user.has_perm("registration.assess_term")

    @admin.action(description="Assess the fees of the selected terms", permissions=["assess"])
    def assess_selected(self, request: HttpRequest, queryset: models.QuerySet[Term]) -> None:
        for term in queryset:
            try:
                done = operations.assess_fees(term)
            except operations.Refused as refusal:
                messages.error(request, str(refusal))
                continue
            charged = display(done.after, done.currency)
            messages.success(
                request,
                f"{term}: {done.students:,} students are charged {charged}; {done.posted:,} charges posted, "
                f"{done.voided:,} voided.",
            )
            for sentence in done.what_waits:
                messages.warning(request, sentence)


@admin.register(College)
class CollegeAdmin(KeptAdmin):
    list_display = ["code", "name"]
    search_fields = ["code", "name"]


@admin.register(Program)
class ProgramAdmin(KeptAdmin):
    list_display = ["code", "name", "college", "full_time_credits"]
    list_select_related = ["college"]
    search_fields = ["code", "name"]


@admin.register(Course)
class CourseAdmin(KeptAdmin):
    list_display = ["code", "title", "credits", "college"]
    list_filter = ["college"]
    search_fields = ["code", "title"]
