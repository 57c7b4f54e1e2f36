"""The product's turn in the sync benchmark: one run of a connection, in a fresh process.

    python -m integrations.management.benchmarks.product_turn SLUG

It prints a JSON object: how long the run took from being asked for to its end, what it came to, and the most memory that the
process ever held. Imports are not in the time, and are in the memory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django
import orjson

django.setup()  # a process of its own, before anything of the product is imported

from integrations.models import Stream  # noqa: E402
from integrations.models.run import RunTrigger  # noqa: E402
from integrations.operations import request_run  # noqa: E402
from integrations.sync.runner import execute_run  # noqa: E402

_KIBIBYTES_A_MEBIBYTE = 1024
_COUNTED = ("status", "reason", "read", "created", "modified", "voided", "unchanged", "rejected")


def turn(slug: str) -> dict[str, object]:
    """Sync every stream of the connection's one dataset and say what came of it."""
    start = time.perf_counter()
    stream = Stream.objects.select_related("connection").get(connection__slug=slug)
    run = execute_run(request_run(stream, RunTrigger.COMMAND).pk)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rss_mb": peak_mb(), **{name: getattr(run, name) for name in _COUNTED}}


def peak_mb() -> float:
    """The most memory that this process ever held: unlike getrusage's figure it does not remember who started it."""
    status = Path("/proc/self/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(peak) / _KIBIBYTES_A_MEBIBYTE, 1)


if __name__ == "__main__":
    print(orjson.dumps(turn(sys.argv[1])).decode())  # noqa: T201  what the starter reads
