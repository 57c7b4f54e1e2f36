"""Panels of the student profile that other rooms fill: registration asks, and does not know who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from registration.models import Student


@dataclass(frozen=True)
class Panel:
    """A part of the student profile: a heading, the template that draws it, what that template is given, and the permission
    that somebody needs to see it."""

    title: str
    template: str
    context: Callable[[HttpRequest, Student], Mapping[str, Any]]
    permission: str


_panels: list[Panel] = []


def register_panel(panel: Panel) -> None:
    """Add a panel; called once, when the room that fills it is ready."""
    if panel not in _panels:
        _panels.append(panel)


def drawn_panels(request: HttpRequest, student: Student) -> list[dict[str, Any]]:
    """Return every panel that this person may see with its context, in the order of their registration."""
    return [
        {"title": panel.title, "template": panel.template, "context": panel.context(request, student)}
        for panel in _panels
        if request.user.has_perm(panel.permission)
    ]
