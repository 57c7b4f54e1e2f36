"""`/healthz`: the process answers. `/readyz`: it can do its work, or says which part it lacks."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from integrations.diagnosis import Finding, diagnose

# A probe of life comes every few seconds and must not wait for what is down: it is told what was seen last.
SEEN_SECONDS: Final = 10.0
_AGES: Final = {"beat": "beat_age_seconds", "worker": "worker_age_seconds", "work": "oldest_due_seconds"}


class LastLook:
    """The faults that this process has seen last: one request looks again, the others take what it saw before."""

    def __init__(self) -> None:
        self._looking = threading.Lock()
        self._faults: list[str] = []
        self._looked_at = float("-inf")

    def faults(self) -> list[str]:
        """The names of the parts that are not well."""
        if time.monotonic() - self._looked_at > SEEN_SECONDS and self._looking.acquire(blocking=False):
            try:
                self._faults = [finding.part for finding in diagnose() if not finding.is_ok]
                self._looked_at = time.monotonic()
            finally:
                self._looking.release()
        return self._faults


_last_look = LastLook()


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the process lives, whatever else is down; `faults` names that."""
    faults = _last_look.faults()
    return JsonResponse({"status": "degraded" if faults else "ok", "faults": faults})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when this process can serve, else 503 with the part that it lacks. Parts that others need, such as beat,
    are named too; with `?all` they count like the rest, for whoever watches the whole installation."""
    findings = diagnose()
    has_fault = any(not finding.is_ok for finding in findings)
    is_unavailable = any(finding.prevents_serving for finding in findings)
    status = "unavailable" if is_unavailable else "degraded" if has_fault else "ok"
    is_refused = is_unavailable or ("all" in request.GET and has_fault)
    return JsonResponse({"status": status, **_report(findings)}, status=503 if is_refused else 200)


def _report(findings: list[Finding]) -> dict[str, Any]:
    states = {finding.part: finding.state for finding in findings}
    ages = {_AGES[finding.part]: finding.age_seconds for finding in findings if finding.part in _AGES}
    return {**states, **ages}
