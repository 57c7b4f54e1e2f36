"""Fee schedules, and the changes of fees that wait for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from registration import operations
from registration.admin.kept import KeptAdmin
from registration.models import FeeChange, FeeItem, FeeSchedule, RefundStep
from registration.models.fee_change import FeeChangeStatus
from registration.models.fees import MAX_FEE_MINOR, billing_currency
from registration.money import NotMoney, decimal_text, to_minor

_TONES: Final = {
    FeeChangeStatus.WAITING: "warn",
    FeeChangeStatus.APPROVED: "good",
    FeeChangeStatus.REFUSED: "muted",
    FeeChangeStatus.LAPSED: "muted",
}
LEFT_OUT_SHOWN: Final = 10
DECISIONS: Final[dict[str, tuple[Callable[..., FeeChange], str]]] = {
    "approve": (operations.approve_fee_change, "Approved: the bill says it now."),
    "refuse": (operations.refuse_fee_change, "Refused: the bill stays as it was."),
}


class FeeItemForm(forms.ModelForm[FeeItem]):
    """A fee with its amount as people write it."""

    amount = forms.CharField(max_length=40, help_text="Such as 450.00; of a per-credit fee, for one credit.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["amount"] = decimal_text(self.instance.amount_minor, self.instance.schedule.currency)

    def clean_amount(self) -> str:
        """Keep the amount in minor units, or say what is wrong with it."""
        schedule = self.instance.schedule if self.instance.schedule_id else None
        currency = schedule.currency if schedule else billing_currency()
        written: str = self.cleaned_data["amount"].strip()
        try:
            minor = to_minor(written, currency)
        except NotMoney as error:
            raise forms.ValidationError(f"{error}.") from None
        if not 0 <= minor <= MAX_FEE_MINOR:
            raise forms.ValidationError("A fee is not negative, and not beyond any bill.")
        self.instance.amount_minor = minor
        return written

    class Meta:
        model = FeeItem
        fields = ("code", "description", "basis")


class FeeItemInline(admin.TabularInline[FeeItem, FeeSchedule]):
    model = FeeItem
    form = FeeItemForm
    extra = 0
    can_delete = False


class RefundStepInline(admin.TabularInline[RefundStep, FeeSchedule]):
    model = RefundStep
    extra = 0
    can_delete = False


@admin.register(FeeSchedule)
class FeeScheduleAdmin(KeptAdmin):
    list_display = ["term", "living_arrangement", "residency", "fees"]
    list_display_links = ["term", "living_arrangement"]
    list_filter = ["term", "living_arrangement", "residency"]
    list_select_related = ["term"]
    exclude = ["currency"]
    inlines = [FeeItemInline, RefundStepInline]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[FeeSchedule]:
        schedules: models.QuerySet[FeeSchedule] = super().get_queryset(request)
        return schedules.prefetch_related("items__schedule")

    @admin.display(description="Fees")
    def fees(self, schedule: FeeSchedule) -> str:
        return ", ".join(str(item) for item in schedule.items.all())


class DecisionForm(ActionForm):
    """Which action, and why: the reason is kept with each change that it decides."""

    reason = forms.CharField(
        max_length=500, required=False, label="Your reason", widget=forms.TextInput(attrs={"size": 30})
    )


@admin.register(FeeChange)
class FeeChangeAdmin(LooksAreAudited, ReadOnlyAdmin):
    action_form = DecisionForm
    actions = ["approve_selected", "refuse_selected"]
    student_number = "student.number"
    list_display = ["student", "term", "badge", "difference", "why", "decided_by"]
    list_filter = ["status", "term"]
    list_select_related = ["student", "term"]
    search_fields = ["student__number"]
    show_full_result_count = False
    change_form_template = "admin/registration/feechange/change_form.html"

    @admin.display(description="Status", ordering="status")
    def badge(self, change: FeeChange) -> SafeString:
        tone = _TONES[FeeChangeStatus(change.status)]
        return format_html('<span class="badge badge-{}">{}</span>', tone, change.get_status_display())

    @admin.display(description="Difference")
    def difference(self, change: FeeChange) -> str:
        return change.displayed_difference

    def get_urls(self) -> list[URLPattern]:
        decide = self.admin_site.admin_view(self.decide)
        return [
            path("<int:pk>/decide/<str:decision>/", decide, name="registration_feechange_decide"),
            *super().get_urls(),
        ]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registration.approve_feechange")

    @admin.action(description="Approve the selected changes", permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: models.QuerySet[FeeChange]) -> None:
        self._decide_selected(request, queryset, FeeChangeStatus.APPROVED)

    @admin.action(description="Refuse the selected changes", permissions=["decide"])
    def refuse_selected(self, request: HttpRequest, queryset: models.QuerySet[FeeChange]) -> None:
        self._decide_selected(request, queryset, FeeChangeStatus.REFUSED)

    def _decide_selected(
        self, request: HttpRequest, queryset: models.QuerySet[FeeChange], decision: FeeChangeStatus
    ) -> None:
        try:
            done = operations.decide_fee_changes(queryset, decision, reason=request.POST.get("reason", ""))
        except operations.Refused as refusal:
            messages.error(request, f"{refusal} Write it beside the action.")
            return
        if done.decided:
            messages.success(request, f"{done.decided:,} {decision.label.lower()}.")
        for change, why in list(done.left_out.items())[:LEFT_OUT_SHOWN]:
            messages.error(request, f"{change} was left as it is: {why}.")
        if len(done.left_out) > LEFT_OUT_SHOWN:
            messages.error(
                request, f"And {len(done.left_out) - LEFT_OUT_SHOWN:,} more were left as they are."
            )

    def decide(self, request: HttpRequest, pk: int, decision: str) -> HttpResponse:
        """Approve or refuse: a permission, one operation, a message."""
        if decision not in DECISIONS:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("registration.approve_feechange"):
            raise PermissionDenied
        decide, message = DECISIONS[decision]
        try:
            decide(get_object_or_404(FeeChange, pk=pk), reason=request.POST.get("reason", ""))
        except operations.Refused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, message)
        return HttpResponseRedirect(reverse("admin:registration_feechange_change", args=[pk]))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        change = self.get_object(request, object_id)
        context = {
            "change_of_fees": change,
            "tone": _TONES[FeeChangeStatus(change.status)] if change else "",
            "may_decide": request.user.has_perm("registration.approve_feechange"),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
