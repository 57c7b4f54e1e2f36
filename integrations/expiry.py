"""Client certificates that end soon: told 30, 7 and 1 days before, and when they have ended."""

from __future__ import annotations

import datetime
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from integrations.alerts import close_all_but, open_incident
from integrations.models import Connection
from integrations.models.alert import Severity

# Days before the end, the nearest first, and how soon somebody has to look. Each is an incident of its own, so that each is
# e-mailed; one of them is open at a time.
STAGES: Final = {0: Severity.URGENT, 1: Severity.URGENT, 7: Severity.NORMAL, 30: Severity.LOW}
_INCIDENT: Final = "certificate:"


def notice_certificates() -> None:
    """Bring the alerts of every connection to what its certificate is now."""
    connections = Connection.objects.present().filter(enabled=True, certificate_expires_at__isnull=False)
    kept = [incident for connection in connections if (incident := notice_certificate(connection))]
    close_all_but(kept, beginning=_INCIDENT)


@transaction.atomic
def notice_certificate(connection: Connection) -> str:
    """Open the alert of the stage that the connection's certificate is in, and close those of the others. Returns the
    incident that is open, "" for none."""
    now, expires_at = timezone.now(), connection.certificate_expires_at
    left = expires_at - now if expires_at else None
    stage = next(
        (days for days in STAGES if left is not None and left <= datetime.timedelta(days=days)), None
    )
    incident = "" if stage is None else f"{_INCIDENT}{connection.slug}:{stage}"
    close_all_but([incident], beginning=f"{_INCIDENT}{connection.slug}:", is_stage=bool(incident))
    if expires_at is not None and stage is not None:
        open_incident(incident, severity=STAGES[stage], **_telling(connection, expires_at, now))
    return incident


def _telling(connection: Connection, expires_at: datetime.datetime, now: datetime.datetime) -> dict[str, Any]:
    days = -((now - expires_at) // datetime.timedelta(days=1))
    has_ended = expires_at <= now
    when = "has ended" if has_ended else f"ends in {days} day{'' if days == 1 else 's'}"
    means = "Nothing can be read from there" if has_ended else "From then on nothing can be read from there"
    return {
        "connection": connection,
        "title": f"{connection.name}: certificate {when}",
        "text": (
            f"The certificate by which Matricula proves itself to {connection.name} {when}: it is good until "
            f"{expires_at:%Y-%m-%d %H:%M} UTC. {means}. Ask its owner for a new one, and enter certificate and key in "
            "the connection."
        ),
    }
