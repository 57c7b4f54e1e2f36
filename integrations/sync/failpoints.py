"""Points of the road at which a test may stop a process, to see what comes of it.

Where no folder is named (`FAILPOINTS_DIR`, nowhere by default; `check --deploy` refuses it) passing by does nothing. A
point is armed by a file of its name in the folder. The first process that passes by takes the file away, leaves its number
in another one, and stops as SIGSTOP stops: heartbeat, locks and all. Whoever armed the point then kills it or lets it go on.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path

from django.conf import settings

STOPPED_SUFFIX = ".stopped"


class Failpoint(StrEnum):
    """After which step, or in the middle of which, a process may be stopped."""

    TAKEN = "taken"
    STAGING = "staging"  # in the transaction that writes a page
    STAGED = "staged"
    EXTRACTED = "extracted"
    PLANNING = "planning"  # in the transaction that makes the plan
    PLANNED = "planned"
    CONFIRMED = "confirmed"
    GUARDED = "guarded"
    LANDING = "landing"  # in the transaction that applies
    APPLIED = "applied"


def pass_by(point: Failpoint) -> None:
    """Stop here, if the point is armed."""
    if settings.FAILPOINTS_DIR is not None:
        _stop_where_armed(Path(settings.FAILPOINTS_DIR) / point)


def _stop_where_armed(armed: Path) -> None:
    draft = armed.with_suffix(f".{os.getpid()}")
    try:
        armed.rename(draft)  # of several processes, one
    except FileNotFoundError:
        return
    draft.write_text(str(os.getpid()))
    draft.rename(armed.with_suffix(STOPPED_SUFFIX))
    os.kill(os.getpid(), signal.SIGSTOP)
