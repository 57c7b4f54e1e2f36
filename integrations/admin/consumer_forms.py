"""The forms of a consumer: the four fields of a new one, and what is changed later."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget

from apiauth.models import Consumer
from apiauth.networks import parse_networks
from apiauth.operations import Credentials
from apiauth.scopes import SCOPES, scope_text
from registration.disclosure import admit_consumer, students_named
from registration.models import College, Program

PURPOSE_HELP = (
    "Kept as the record of disclosure, and with each disclosure: what the partner needs these students for."
)


def student_choices() -> list[Any]:
    """Whom a consumer may see, but for single students, who are named by their number."""
    return [
        ("", "No students"),
        ("all", "All students"),
        (
            "Of a college",
            [(f"college:{code}", name) for code, name in College.objects.values_list("code", "name")],
        ),
        (
            "Of a program",
            [(f"program:{code}", name) for code, name in Program.objects.values_list("code", "name")],
        ),
    ]


class ScopesField(forms.MultipleChoiceField):
    """The table of scopes, in words."""

    def __init__(self) -> None:
        super().__init__(
            choices=[(name, f"{scope.words} ({name})") for name, scope in SCOPES.items()],
            widget=forms.CheckboxSelectMultiple,
            label="Scopes",
            help_text="What it may do. It gets no more than what is ticked, whatever it asks for.",
        )


class ConsumerForm(forms.ModelForm[Consumer]):
    """What every form of a consumer checks."""

    scopes = ScopesField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:  # who may only look has fields for nothing
            self.fields["name"].required = True

    def clean_name(self) -> str:
        name: str = " ".join(self.cleaned_data["name"].split())
        others = Consumer.objects.in_use().exclude(pk=self.instance.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("Another consumer has this name.")
        return name


class AdmissionForm(ConsumerForm):
    """A new consumer: name, contact, scopes, and the students it may see with the purpose."""

    students = forms.ChoiceField(
        required=False,
        choices=student_choices,
        label="Students it may see",
        help_text="A student with a disclosure hold is seen only by whom a grant names; those are added on the next page.",
    )
    purpose = forms.CharField(
        required=False, max_length=500, help_text=PURPOSE_HELP, widget=forms.Textarea(attrs={"rows": 2})
    )

    class Meta:
        model = Consumer
        fields = ("name", "contact")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if given.get("students") and not given.get("purpose", "").strip():
            self.add_error("purpose", "Say what the partner needs these students for.")
        return given

    def admit(self) -> Credentials:
        """Make the consumer. Raises Refused, of apiauth or of registration, when it came to nothing."""
        given = self.cleaned_data
        return admit_consumer(
            given["name"],
            scopes=given["scopes"],
            contact=given["contact"],
            students=students_named(given["students"]) if given["students"] else None,
            purpose=given["purpose"],
        )


class SettingsForm(ConsumerForm):
    """What is changed later, and felt by the very next request."""

    field_order = ("name", "contact", "scopes", "hourly_limit", "expires_on", "networks")

    class Meta:
        model = Consumer
        fields = ("name", "contact", "hourly_limit", "expires_on", "networks")
        widgets = {"expires_on": AdminDateWidget, "networks": forms.Textarea(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["scopes"] = self.instance.scopes

    def clean_hourly_limit(self) -> int:
        limit: int = self.cleaned_data["hourly_limit"]
        if not limit:
            raise forms.ValidationError("One request an hour at least: to stop a consumer, suspend it.")
        return limit

    def clean_networks(self) -> str:
        networks: str = self.cleaned_data["networks"]
        try:
            parse_networks(networks)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return networks

    def save(self, commit: bool = True) -> Consumer:
        self.instance.scope = scope_text(self.cleaned_data["scopes"])
        return super().save(commit)
