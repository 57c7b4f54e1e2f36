"""The settings of a connector as fields of a form: one declaration serves the document, the form and its help."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args, get_origin

from django import forms
from django.forms.fields import InvalidJSONInput
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from integrations.connectors.base import ConnectorSettings
from integrations.connectors.registry import CONNECTORS
from integrations.documents import WRITTEN
from integrations.models import Connection

# In the form beside the connection's own fields, of which one may have the same name.
PREFIX: Final = "settings_"


class JsonField(forms.JSONField):
    """A list or a table as JSON; empty is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "code"}), **options
        )

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, InvalidJSONInput) else json.dumps(value, ensure_ascii=False)


def settings_fields(connection: Connection) -> dict[str, forms.Field]:
    """A field for each setting of the connection's connector, by its name in the form."""
    settings = _model_of(connection)
    return {
        f"{PREFIX}{name}": _field(name, info, connection.settings)
        for name, info in settings.model_fields.items()
    }


def settings_in(connection: Connection, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """The connection's settings after what was entered: what stands at its default and was not named is not named."""
    settings: dict[str, Any] = {}
    for name, info in _model_of(connection).model_fields.items():
        value = cleaned.get(f"{PREFIX}{name}")
        value = info.get_default(call_default_factory=True) if value in (None, "") else value
        if name in connection.settings or value != info.get_default(call_default_factory=True):
            settings[name] = value
    return settings


def faults_in(connection: Connection, settings: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with these settings, by the name of the form's field."""
    try:
        _model_of(connection).model_validate(settings, context=WRITTEN)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        return {
            f"{PREFIX}{fault['loc'][0]}": fault["msg"].removeprefix("Value error, ")
            for fault in reversed(faults)
        }
    return {}


def _model_of(connection: Connection) -> type[ConnectorSettings]:
    connector = CONNECTORS.get(connection.connector)
    return connector.Settings if connector else ConnectorSettings


def _field(name: str, info: FieldInfo, settings: Mapping[str, Any]) -> forms.Field:
    kind = info.annotation
    options: dict[str, Any] = {
        "label": name.replace("_", " ").capitalize(),
        "help_text": info.description or "",
        "required": info.is_required(),
        "initial": settings.get(name, None if info.is_required() else info.get_default(call_default_factory=True)),
    }  # fmt: skip
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        coerce: Callable[[Any], Any] = type(choices[0])
        return forms.TypedChoiceField(choices=[(value, value) for value in choices], coerce=coerce, **options)
    if int in (kind, *get_args(kind)) and get_origin(kind) is not list:
        return forms.IntegerField(**options)
    return forms.CharField(**options) if kind is str else JsonField(**options)
