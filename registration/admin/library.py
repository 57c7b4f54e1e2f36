"""Library accounts, and the sweep that waits for a person. What the library was sent is on the students' profiles."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from registration import operations
from registration.models import LibraryAccount
from registration.operations.library import accounts_ending, checksum_of

ACCOUNTS_SHOWN = 200


@admin.register(LibraryAccount)
class LibraryAccountAdmin(LooksAreAudited, ReadOnlyAdmin):
    student_number = "student.number"
    list_display = [
        "profile",
        "status",
        "is_wanted",
        "requested_at",
        "settled_at",
        "grace_ends_at",
        "override",
    ]
    list_display_links = None
    list_filter = ["status", "override", "is_wanted"]
    list_select_related = ["student"]
    search_fields = ["=student__number"]
    show_full_result_count = False
    change_list_template = "admin/registration/libraryaccount/change_list.html"

    @admin.display(description="Student", ordering="student__number")
    def profile(self, account: LibraryAccount) -> SafeString:
        address = reverse("admin:registration_student_change", args=[account.pk])
        return format_html('<a href="{}#library">{}</a>', address, account.student.number)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.sweep)
        return [path("sweep/", view, name="registration_libraryaccount_sweep"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(
            request, {"ending": accounts_ending().count(), **(extra_context or {})}
        )

    def sweep(self, request: HttpRequest) -> HttpResponse:
        """The accounts that a sweep would end now; a person may say that it shall: these, and no others."""
        if not request.user.has_perm("registration.view_libraryaccount"):
            raise PermissionDenied
        if request.method == "POST":
            return _approve(request)
        ending = accounts_ending()
        shown = list(ending.select_related("student").order_by("student__number")[:ACCOUNTS_SHOWN])
        count = ending.count()
        self.record_look(request, rows=shown, found=count)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Library accounts to be ended",
            "accounts": shown,
            "count": count,
            "wanted": LibraryAccount.objects.wanted().count(),
            "checksum": checksum_of(ending),
            "may_approve": request.user.has_perm("registration.override_libraryaccount"),
        }
        return TemplateResponse(request, "admin/registration/libraryaccount/sweep.html", context)


def _approve(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("registration.override_libraryaccount"):
        raise PermissionDenied
    try:
        ended = operations.approve_library_sweep(
            request.POST.get("checksum", ""), reason=request.POST.get("reason", "")
        )
    except operations.Refused as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:registration_libraryaccount_sweep"))
    messages.success(request, f"The library is asked to end {ended:,} accounts.")
    return HttpResponseRedirect(reverse("admin:registration_libraryaccount_changelist"))
