"""Life: beat and workers show that they work, and an outage is told when it is over.

While nothing works nothing can write: pages and `doctor` then say what they see (diagnosis.py). Whoever comes back finds
the gap in its own signs and raises the alert.
"""

from __future__ import annotations

import datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from integrations.alerts import Incident, raise_alert, resolve_alerts
from integrations.models import Alert, Pulse, RunLease, SyncRun
from integrations.models.pulse import Part

# Signs for each lease: some may be late without a word.
SIGNS_A_LEASE: Final = 3
# Without a sign for so many leases, a part counts as silent.
SILENT_LEASES: Final = 2
# How long the alert of an outage that is over stays on the front page.
OUTAGE_SHOWN: Final = datetime.timedelta(hours=1)

_INCIDENTS: Final = {Part.BEAT: Incident.BEAT, Part.WORKER: Incident.WORKER}
_OUTAGES: Final = {
    Part.BEAT: (
        "Nobody rang for due work",
        "Beat, which rings for due work, was not seen",
        "its process had died or could not write to the database",
    ),
    Part.WORKER: (
        "No worker worked",
        "No worker was seen at work",
        "their processes had died or hung, or could not reach broker or database",
    ),
}


def sign_seconds() -> float:
    """How often a part shows that it works."""
    seconds: float = settings.RUN_LEASE_SECONDS / SIGNS_A_LEASE
    return max(1.0, seconds)


def silent_after() -> datetime.timedelta:
    """How long a part may show nothing before it counts as silent."""
    return datetime.timedelta(seconds=SILENT_LEASES * settings.RUN_LEASE_SECONDS)


def last_sign_of(part: Part) -> datetime.datetime | None:
    """When the part last showed that it works; None when it never did. Workers that are all busy with runs show it by
    the heartbeats and the ends of these."""
    pulse = Pulse.objects.filter(part=part).first()
    if pulse is None:
        return None
    if part == Part.BEAT:
        return pulse.seen_at
    heartbeat = RunLease.objects.aggregate(last=Max("heartbeat_at"))["last"]
    ended = SyncRun.objects.filter(finished_at__gt=pulse.seen_at).aggregate(last=Max("finished_at"))["last"]
    signs: list[datetime.datetime] = [sign for sign in (pulse.seen_at, heartbeat, ended) if sign]
    return max(signs)


@transaction.atomic
def show_life(part: Part) -> None:
    """Note that the part works now. Raises an alert where it had not for too long, and closes that of an outage that
    was shown long enough."""
    now, before = timezone.now(), last_sign_of(part)
    Pulse.objects.update_or_create(part=part, defaults={"seen_at": now})
    if before is not None and now - before > silent_after():
        _tell_outage(part, before, now)
    if Alert.objects.open().filter(incident=_INCIDENTS[part], last_seen_at__lt=now - OUTAGE_SHOWN).exists():
        resolve_alerts(None, _INCIDENTS[part])


def _tell_outage(part: Part, since: datetime.datetime, until: datetime.datetime) -> None:
    title, what, why = _OUTAGES[part]
    raise_alert(
        None,
        _INCIDENTS[part],
        title=title,
        text=(
            f"{what} from {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC: {why}. It works again, and what was "
            "due meanwhile is made up for now, once for each feed. The logs of that time say why; `manage.py doctor` says "
            "how everything stands."
        ),
    )
