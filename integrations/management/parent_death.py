"""No process of `up` outlives it: when a parent dies without a word, Linux kills its child at once.

That is what a power cut would do, and the database and the leases are made for it. The kernel's mark does not
pass from parent to child, so each process that forks others marks them too: `up` marks what it starts, the
Celery worker and gunicorn mark theirs by the hooks below (`--include` and `--config python:` of this module).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from celery.signals import worker_process_init

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Found before the first fork: the C library must not be looked for between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)
_imported_by = os.getpid()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies. `parent` is who it was at the fork: if somebody
    else is the parent by now, the death has been missed, and this process ends itself."""
    if sys.platform != "linux":
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@worker_process_init.connect  # type: ignore[misc,unused-ignore]
def _die_with_worker(**_: Any) -> None:
    # Celery imports this module in the worker's main process, which then forks the pool.
    die_with_parent(_imported_by)


def post_fork(arbiter: Any, worker: Any) -> None:
    """Mark a web process; gunicorn's hook, found by its name."""
    die_with_parent(arbiter.pid)
