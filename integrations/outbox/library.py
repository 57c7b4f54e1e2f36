"""The sweep of the library's accounts, and the incident of one that waits for a person."""

from __future__ import annotations

from integrations.alerts import Incident, raise_alert, resolve_alerts
from integrations.models import Alert
from registration.operations import Sweep, sweep_library_access


def reconcile_library() -> Sweep:
    """Bring every library account to what it should be; a sweep that would end too many of them is an alert."""
    sweep = sweep_library_access()
    if not sweep.held:
        resolve_alerts(None, Incident.LIBRARY)
    elif not Alert.objects.open().filter(incident=Incident.LIBRARY).exists():
        raise_alert(
            None,
            Incident.LIBRARY,
            title="A sweep of library accounts is held",
            text=f"{sweep.held:,} library accounts would be ended at once, which is more than usual. None of them is, "
            "until somebody has looked at them. If their students should not have lost their enrollments, correct that: "
            "the accounts then stay by themselves.",
        )
    return sweep
