"""What is published with the code: the document that partners rely on and the code is held against, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings

from registration.api.compatibility import breaking_changes
from registration.api.docs import document
from registration.api.postman import as_json, collection_of

DOCUMENT: Final = Path(settings.BASE_DIR) / "openapi.yaml"
COLLECTION: Final = Path(settings.BASE_DIR) / "docs" / "partner-api.postman_collection.json"
# Each file and the text that it should have.
_FILES: Final[dict[Path, Callable[[], str]]] = {
    DOCUMENT: lambda: as_yaml(document()),
    COLLECTION: lambda: as_json(collection_of(document())),
}


def as_yaml(made: dict[str, Any]) -> str:
    """A document as it is kept: the same text for the same document."""
    text: str = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=110)
    return text


def published() -> dict[str, Any]:
    """The document that was published last."""
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return found


def what_breaks() -> list[str]:
    """What the code would break of what was published."""
    return breaking_changes(published(), document()) if DOCUMENT.exists() else []


def stale_files() -> list[Path]:
    """The files that do not say what the code says."""
    return [file for file, text in _FILES.items() if not file.exists() or file.read_text() != text()]


def publish(files: list[Path]) -> None:
    """Write some files as the code says. Whoever calls has asked `what_breaks`."""
    for file in files:
        file.write_text(_FILES[file]())
