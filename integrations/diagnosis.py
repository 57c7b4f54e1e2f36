"""How the installation stands: each part that work needs, what is wrong with it, and what to do.

Asked by `/readyz`, `/healthz`, the front page and `manage.py doctor`. It writes nothing, and each question is bounded in
time, so that it can be asked while everything else is down.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min
from django.utils import timezone

from apiauth.sealed import SealBroken
from integrations.alerts import Incident, raise_alert, resolve_alerts
from integrations.liveness import last_sign_of, silent_after
from integrations.models import Alert, Connection, Stream, SyncRun
from integrations.models.pulse import Part
from integrations.models.run import LIVE_STATUSES, RunStatus

log = structlog.get_logger(__name__)
BROKER_TIMEOUT_SECONDS: Final = 2
OK: Final = "ok"
# Due work is started within seconds; so late, something keeps it.
LATE_AFTER: Final = datetime.timedelta(minutes=5)
# SQLite's journal, a log and a mail fit into the first; below the second writes fail at any moment.
LOW_BYTES: Final = 200 * 1024 * 1024
FULL_BYTES: Final = 10 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One part, and how it stands: "ok", or a word for what is wrong with a sentence and what to do."""

    part: str
    state: str
    sentence: str
    advice: str = ""
    age_seconds: int | None = None

    @property
    def is_ok(self) -> bool:
        return self.state == OK

    @property
    def prevents_serving(self) -> bool:
        """Whether pages and requests of partners fail, so that a load balancer should send nobody here."""
        return (self.part, self.state) in _PREVENTING_SERVICE


_PREVENTING_SERVICE: Final = frozenset(
    {
        ("database", "unavailable"),
        ("database", "migrations pending"),
        ("broker", "unavailable"),
        ("disk", "full"),
    }
)


def diagnose() -> list[Finding]:
    """Look at every part. What only the database knows is left out while it does not answer."""
    findings = [_database(), _broker(), _disk()]
    if findings[0].state == "unavailable":
        return findings
    try:
        return [*findings, *(look() for look in _ASKING_THE_DATABASE)] if findings[0].is_ok else findings
    except DatabaseError:
        log.exception("health.database_unavailable")
        return [_NO_DATABASE, *findings[1:]]


_NO_DATABASE: Final = Finding(
    "database",
    "unavailable",
    "The database does not answer.",
    "Look whether its server runs and DATABASE_URL names it; in embedded mode, whether INSTANCE_DIR can be written. "
    "Nothing is lost: what is due is found when it is back.",
)


def examine() -> list[Finding]:
    """Look at every part, and at what takes longer to look at."""
    findings = diagnose()
    return [*findings, _keys()] if findings[0].is_ok else findings


def _keys() -> Finding:
    sealed = [connection for connection in Connection.objects.present() if not _opens(connection)]
    if sealed:
        return Finding(
            "keys",
            "missing",
            f"The secrets of {', '.join(connection.slug for connection in sealed)} are sealed with a key that is not here.",
            "Add the key to CREDENTIAL_KEYS, in embedded mode as INSTANCE_DIR/keys/credential_keys from where keys are "
            "kept; or enter the secrets of these connections again.",
        )
    return Finding("keys", OK, "Every secret opens.")


def _opens(connection: Connection) -> bool:
    try:
        return connection.secrets is not None
    except SealBroken:
        return False


def _database() -> Finding:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        log.exception("health.database_unavailable")
        connection.close()
        return _NO_DATABASE
    if pending:
        return Finding(
            "database",
            "migrations pending",
            f"The database lacks {len(pending)} migrations of this release.",
            "Run manage.py migrate.",
        )
    return Finding("database", OK, "The database answers, and its tables are those of this release.")


def _broker() -> Finding:
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://")
    bounds = {"socket_timeout": BROKER_TIMEOUT_SECONDS, "socket_connect_timeout": BROKER_TIMEOUT_SECONDS}
    try:
        with redis.Redis.from_url(url, **bounds) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return Finding(
            "broker",
            "unavailable",
            "The broker does not answer, so that no worker hears of due work.",
            "Look whether its server runs and REDIS_URL names it; in embedded mode `manage.py up` starts it. Nothing is "
            "lost: `manage.py sync SLUG` works without it.",
        )
    return Finding("broker", OK, "The broker answers.")


def _disk() -> Finding:
    try:
        free = shutil.disk_usage(settings.INSTANCE_DIR).free
    except OSError:
        free = 0
    megabytes = free // 1024**2
    if free < LOW_BYTES:
        return Finding(
            "disk",
            "full" if free < FULL_BYTES else "low",
            f"The disk of {settings.INSTANCE_DIR} has {megabytes:,} MB left.",
            "Free some: logs and mail in that folder, older backups. What cannot be written is refused, not lost.",
        )
    return Finding("disk", OK, f"The disk of the instance folder has {megabytes:,} MB left.")


def watch_disk() -> None:
    """Raise an alert while there is little room left, and close it when there is enough again."""
    finding = _disk()
    if finding.is_ok:
        resolve_alerts(None, Incident.DISK)
    elif not Alert.objects.open().filter(incident=Incident.DISK).exists():
        raise_alert(
            None,
            Incident.DISK,
            title=f"The disk is {finding.state}",
            text=f"{finding.sentence} {finding.advice}",
        )


def _beat() -> Finding:
    return _life(
        Part.BEAT,
        "Beat rings for due work.",
        "Nobody rings for due work: beat",
        "Start it: celery -A config beat (`manage.py up` does, and starts it again).",
    )


def _worker() -> Finding:
    return _life(
        Part.WORKER,
        "Workers work.",
        "Nobody does what is due: a worker",
        "Look at the workers' logs, and start them again: celery -A config worker. One that hangs ends with SIGTERM, and "
        "with SIGKILL if that does not help; its runs are taken over. They are silent too where beat or broker are.",
    )


def _life(part: Part, well: str, silent: str, advice: str) -> Finding:
    seen_at = last_sign_of(part)
    if seen_at is None:
        return Finding(part, "not seen", f"{silent} has never been seen.", advice)
    age = timezone.now() - seen_at
    seconds = int(age.total_seconds())
    if age > silent_after():
        return Finding(part, "silent", f"{silent} was last seen {seconds:,} seconds ago.", advice, seconds)
    return Finding(part, OK, well, age_seconds=seconds)


def _work() -> Finding:
    now = timezone.now()
    oldest = min(filter(None, _due_since(now)), default=None)
    age = now - oldest if oldest else datetime.timedelta()
    seconds = int(age.total_seconds())
    if age > LATE_AFTER:
        return Finding(
            "work",
            "late",
            f"Work has been due for {seconds:,} seconds.",
            "Mend what else is named here. Where nothing is, the workers are too few or busy with long runs: start more "
            "of them, or sync a connection at once with manage.py sync SLUG.",
            seconds,
        )
    return Finding("work", OK, "What was due has been started.", age_seconds=seconds)


def _due_since(now: datetime.datetime) -> Iterator[datetime.datetime | None]:
    """Since when the oldest queued run has waited for a worker, and the oldest due stream for its run."""
    queued = SyncRun.objects.filter(status=RunStatus.QUEUED)
    yield queued.aggregate(oldest=Min("requested_at"))["oldest"]
    due = Stream.objects.active().filter(next_run_at__lte=now).exclude(runs__status__in=LIVE_STATUSES)
    yield due.aggregate(oldest=Min("next_run_at"))["oldest"]


_ASKING_THE_DATABASE: Final[tuple[Callable[[], Finding], ...]] = (_beat, _worker, _work)
