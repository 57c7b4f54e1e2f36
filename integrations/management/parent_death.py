"""No process of `up` outlives it: when a parent dies without a word, Linux kills its child at once.

That is what a power cut would do, and the database and the leases are made for it. The kernel's mark does not
pass from parent to child, so each process that forks marks what it forks: `up` its children, the Celery worker
its pool (it does so by itself), and gunicorn its workers, by the hook below (`--config python:` of this module).
Without the hook they notice too, but stay for as long as a request of theirs hangs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Found before the first fork: the C library must not be looked for between fork and exec.
_libc = ctypes.CDLL(None)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies. `parent` is who it was at the fork: if somebody
    else is the parent by now, the death has been missed, and this process ends itself."""
    if sys.platform != "linux":
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def post_fork(arbiter: Any, worker: Any) -> None:
    """Mark a web process; gunicorn's hook, found by its name."""
    die_with_parent(arbiter.pid)
