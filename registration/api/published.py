"""The document as it is published with the code: what partners rely on, and what the code is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings

from registration.api.compatibility import breaking_changes
from registration.api.docs import document

FILE: Final = Path(settings.BASE_DIR) / "openapi.yaml"


def as_yaml(made: dict[str, Any]) -> str:
    """A document as it is kept: the same text for the same document."""
    text: str = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=110)
    return text


def published() -> dict[str, Any]:
    """The document that was published last."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def what_breaks() -> list[str]:
    """What the code would break of what was published."""
    return breaking_changes(published(), document()) if FILE.exists() else []


def publish() -> None:
    """Write what the code says. Whoever calls has asked `what_breaks`."""
    FILE.write_text(as_yaml(document()))
