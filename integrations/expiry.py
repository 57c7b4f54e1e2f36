"""Client certificates that end soon: told 30, 7 and 1 days before, and when they have ended."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import transaction
from django.utils import timezone

from integrations.models import Alert, Connection

# Days before the end. Each is an incident of its own, so that each is e-mailed; one of them is open at a time.
STAGES: Final = (0, 1, 7, 30)
_INCIDENT: Final = "certificate:"


def notice_certificates() -> None:
    """Bring the alerts of every connection to what its certificate is now."""
    connections = Connection.objects.present().filter(enabled=True, certificate_expires_at__isnull=False)
    kept = [incident for connection in connections if (incident := notice_certificate(connection))]
    over = Alert.objects.open().filter(incident__startswith=_INCIDENT).exclude(incident__in=kept)
    over.update(resolved_at=timezone.now())


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
    others = Alert.objects.open().filter(incident__startswith=f"{_INCIDENT}{connection.slug}:")
    others.exclude(incident=incident).update(resolved_at=now)
    if expires_at is not None and incident:
        # Two processes may notice it at the same moment: the constraint lets one of them write.
        Alert.objects.get_or_create(
            incident=incident, resolved_at=None, defaults=_telling(connection, expires_at, now)
        )
    return incident


def _telling(
    connection: Connection, expires_at: datetime.datetime, now: datetime.datetime
) -> dict[str, object]:
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
        "last_seen_at": now,
    }
