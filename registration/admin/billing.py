"""The ledger and its export, and the accounts that are in credit."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from registration import operations
from registration.credit_balances import credit_balances
from registration.ledger_export import export_ledger, record_export
from registration.models import BillingAccount, LedgerEntry, Term
from registration.models.billing import EntryKind
from registration.money import NotMoney, display, to_minor

CREDITS_SHOWN = 500


class ExportForm(forms.Form):
    """A range of days, both included."""

    first_on = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last_on = forms.DateField(label="Through", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or {}
        first, last = chosen.get("first_on"), chosen.get("last_on")
        if first and last and last < first:
            self.add_error("last_on", "The last day lies before the first one.")
        return chosen


def download(content: bytes, name: str, *, checksum: str = "") -> HttpResponse:
    """A CSV file that no cache keeps."""
    response = HttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    if checksum:
        response["X-Checksum-SHA256"] = checksum
    return response


@admin.register(LedgerEntry)
class LedgerEntryAdmin(LooksAreAudited, ReadOnlyAdmin):
    student_number = "account.student.number"
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
    change_list_template = "admin/registration/ledgerentry/change_list.html"
    change_form_template = "admin/registration/ledgerentry/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export), name="registration_ledgerentry_export"),
            path("<int:pk>/edit/<str:what>/", view(self.edit), name="registration_ledgerentry_edit"),
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

    def export(self, request: HttpRequest) -> HttpResponse:
        """The general ledger's file for a range of days: a page that asks for it and shows its totals, and the download."""
        if not request.user.has_perm("registration.view_ledgerentry"):
            raise PermissionDenied
        form, export = ExportForm(request.POST or None), None
        if request.method == "POST" and form.is_valid():
            export = export_ledger(form.cleaned_data["first_on"], form.cleaned_data["last_on"])
        if export is not None and "totals" not in request.POST:
            record_export(export)
            return download(
                export.csv, f"ledger-{export.first_on}-{export.last_on}.csv", checksum=export.checksum
            )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "form": form,
            "export": export,
            "kinds": export
            and [
                (EntryKind(kind).label, display(effect, currency))
                for (currency, kind), effect in sorted(export.totals.items())
            ],
            "accounts": export
            and [
                (moved.account, display(moved.debit, moved.currency), display(moved.credit, moved.currency))
                for moved in export.accounts
            ],
            "title": "Export the ledger",
        }
        return TemplateResponse(request, "admin/registration/ledgerentry/export.html", context)


@admin.register(BillingAccount)
class BillingAccountAdmin(LooksAreAudited, ReadOnlyAdmin):
    """The bursar's list of credit balances; an account itself is seen on its student's profile."""

    student_number = "student.number"

    def get_urls(self) -> list[URLPattern]:
        refund = self.admin_site.admin_view(self.refund)
        return [
            path("<int:pk>/refund/", refund, name="registration_billingaccount_refund"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        credits_ = credit_balances()
        self.record_look(request, rows=credits_[:CREDITS_SHOWN], found=len(credits_))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Credit balances",
            "credits": credits_[:CREDITS_SHOWN],
            "count": len(credits_),
            "may_refund": request.user.has_perm("registration.refund_billingaccount"),
        }
        return TemplateResponse(request, "admin/registration/billingaccount/credits.html", context)

    def refund(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give a credit back: a permission, one operation, a message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("registration.refund_billingaccount"):
            raise PermissionDenied
        account = get_object_or_404(BillingAccount.objects.select_related("student"), pk=pk)
        term = get_object_or_404(Term, code=request.POST.get("term", ""))
        try:
            amount = to_minor(request.POST.get("amount", "").strip(), account.currency)
            entry = operations.refund(account.student, term, amount, reason=request.POST.get("reason", ""))
        except (operations.Refused, NotMoney) as refusal:
            messages.error(request, f"Nothing was refunded: {refusal}")
        else:
            messages.success(
                request, f"{entry.displayed_amount} refunded to {account.student}: entry {entry.pk}."
            )
        return HttpResponseRedirect(reverse("admin:registration_student_change", args=[pk]))
