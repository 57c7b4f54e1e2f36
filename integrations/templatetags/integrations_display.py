"""Filters for the admin's pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString

from integrations.admin.badges import run_badge
from integrations.admin.moments import next_run_in_words
from integrations.admin.progress import Progress, progress_of
from integrations.datasets import DATASETS
from integrations.datasets.base import MASK
from integrations.models import Change, Stream, SyncRun
from registration.money import display

register = template.Library()


@register.filter
def badge(run: SyncRun | None) -> SafeString:
    """A run's status badge."""
    return run_badge(run)


@register.filter
def progress(run: SyncRun | None) -> Progress | None:
    """Where a run is on its road."""
    return progress_of(run) if run else None


@register.filter
def money(minor: int | None) -> str:
    """Minor units as people read them; nothing for nothing."""
    return "" if minor is None else display(minor, settings.CURRENCY)


@register.filter
def next_run(stream: Stream) -> str:
    """When the next scheduled run of a stream starts, in words."""
    return next_run_in_words(stream, timezone.now())


@register.filter
def differences(change: Change, dataset: str) -> list[dict[str, Any]]:
    """The fields of a change that differ; of a record that comes or goes, those that people know it by."""
    before, after = change.before or {}, change.after or {}
    kind = DATASETS[dataset]
    names = [*dict.fromkeys([*before, *after])] if before and after else kind.shown_fields
    return [
        {
            "name": name.replace("_", " "),
            **(
                {"before": _masked(name, before), "after": _masked(name, after)}
                if name in kind.masked_fields
                else {"before": _shown(name, before), "after": _shown(name, after)}
            ),
        }
        for name in names
        if before.get(name) != after.get(name)
    ]


@register.filter
def in_words(values: dict[str, Any] | None, dataset: str) -> str:
    """A record in a few words; where there is none, that nothing would stand."""
    return DATASETS[dataset].in_words(values) if values else "nothing"


@register.filter
def by_hand(change: Change, dataset: str) -> str:
    """What a person had made of a record in conflict."""
    edit: dict[str, Any] = change.conflict or {}
    if edit.get("amount") is None:
        return "void"
    values = edit.get("values") or {"amount": edit["amount"]}
    return DATASETS[dataset].in_words({**(change.before or {}), **values})


def _masked(name: str, values: dict[str, Any]) -> str:
    return "" if values.get(name) is None else MASK


def _shown(name: str, values: dict[str, Any]) -> str:
    value = values.get(name)
    if value is None:
        return ""
    return display(value, values.get("currency", settings.CURRENCY)) if name == "amount" else str(value)
