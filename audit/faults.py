"""Where an unexpected error arose, without what it said.

A message may quote what it was about: a database names the row that it refuses, and rows are students. The kind of
error and the lines that led to it are what an engineer needs, and hold nobody's data.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

_FRAMES: Final = 8


def where(error: BaseException) -> str:
    """Return the error's kind and the innermost lines that led to it, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return f"{type(error).__name__} at " + " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )


def replace_exception(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: say where a logged exception arose instead of printing it whole."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["where"] = where(error)
    return event
