"""Term codes: what the words of other systems mean, kept by administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit.admin import TrailedAdmin
from integrations.models import Connection, Stream, TermCode
from integrations.term_codes import (
    Ambiguous,
    check_term_code,
    delete_term_code,
    save_term_code,
    waiting_for,
)


class TermCodeForm(forms.ModelForm[TermCode]):
    class Meta:
        model = TermCode
        fields = ["connection", "code", "from_on", "through_on", "term"]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors:
            for name, value in self.cleaned_data.items():
                setattr(self.instance, name, value)
            try:
                check_term_code(self.instance)
            except Ambiguous as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned


@admin.register(TermCode)
class TermCodeAdmin(TrailedAdmin):
    """The operations leave the audit events."""

    form = TermCodeForm
    list_display = ["code_shown", "connection", "from_on", "through_on", "term", "changed_by"]
    list_display_links = ["code_shown"]
    list_filter = ["connection", "term"]
    list_select_related = ["connection", "term"]
    search_fields = ["code", "connection__name"]
    actions = None

    @admin.display(description="Code", ordering="code")
    def code_shown(self, code: TermCode) -> str:
        return code.code or "any code"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without the links to other pages: connections and terms are not made by the way."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, models.ForeignKey):
            for link in ("can_add_related", "can_change_related", "can_view_related"):
                setattr(field.widget, link, False)
        return field

    def formfield_for_foreignkey(
        self, db_field: models.ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "connection":
            kwargs["queryset"] = Connection.objects.present()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: TermCode | None = None) -> bool:
        """No role deletes records; to forget what a code means is to change that."""
        return self.has_change_permission(request, obj)

    def save_model(
        self, request: HttpRequest, obj: TermCode, form: forms.ModelForm[TermCode], change: bool
    ) -> None:
        save_term_code(obj)
        if waiting := waiting_for(obj):
            self._lead_to_waiting(request, obj, waiting)

    def delete_model(self, request: HttpRequest, obj: TermCode) -> None:
        delete_term_code(obj)

    def _lead_to_waiting(self, request: HttpRequest, code: TermCode, waiting: int) -> None:
        streams = Stream.objects.filter(connection=code.connection_id, runs__rejections__value=code.code)
        stream = streams.first() or Stream.objects.filter(connection=code.connection_id).first()
        if stream is None or not request.user.has_perm("integrations.view_rejectedrecord"):
            return
        message = format_html(
            '{} rejected record{} may now be used: <a href="{}">take them again</a>, or leave them to the next run.',
            waiting,
            "" if waiting == 1 else "s",
            reverse("admin:integrations_rejectedrecord_of_stream", args=[stream.pk]),
        )
        messages.info(request, message)
