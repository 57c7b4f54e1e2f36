"""Makes the installation that the rounds are played on."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import django
from django.core.management import call_command
from django.db import connections

from config.instance import broker_socket, make_private_folder
from integrations.management.broker import broker_command
from integrations.management.processes import free_port, http_status
from tests.chaos.library import Library
from tests.chaos.source import Source
from tests.chaos.stack import LEASE_SECONDS, Cluster, Stack, python, wait_until

STUDENTS: Final = 30
OK: Final = 200
KINDS: Final = ("embedded", "servers")
_MADE_UP: Final = {
    "SECRET_KEY": "made-up-Secret-0123456789-abcdefghijklmnopqrstuvwxyz-9876543210",
    "CREDENTIAL_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}
_OWN: Final = ("DATABASE_URL", "REDIS_URL", "AUDIT_HEAD_DIR", "EMAIL_URL", "BASE_URL")


@dataclass(frozen=True)
class Installation:
    """What the rounds are played on."""

    kind: str
    stack: Stack
    source: Source
    library: Library
    port: int
    cluster: Cluster | None

    @property
    def armed(self) -> Path:
        """The folder of failpoints (integrations/sync/failpoints.py)."""
        return Path(self.stack.environment["FAILPOINTS_DIR"])

    def wait_for_database(self) -> None:
        """Wait until it answers, and let go of connections to one that has died."""
        connections.close_all()
        if self.cluster is not None:
            self.wait_until(self.cluster.answers, "the database answers")

    def wait_until(
        self, is_so: Callable[[], bool], what: str, *, progress: Callable[[], object] = lambda: None
    ) -> None:
        """Wait as `wait_until` does, and start again whatever dies meanwhile, as a supervisor does."""

        def is_so_by_now() -> bool:
            self.stack.heal()
            return is_so()

        wait_until(is_so_by_now, what, progress=progress)

    def wait_until_it_serves(self) -> None:
        self.wait_until(lambda: http_status(self.port, "/readyz") == OK, "the installation is ready")


@contextmanager
def running(kind: str, seed: int) -> Iterator[Installation]:
    """An installation in a scratch folder, of which the database is up; all is stopped and taken away at the end.

    This process belongs to it: its environment and its Django are those of the installation."""
    with tempfile.TemporaryDirectory(prefix="matricula-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the database's own user has to get to its folder within
        source = Source(seed, STUDENTS)
        library = Library(seed)
        installation = _made(kind, folder, source, library)
        try:
            _start_database(installation)
            yield installation
        except Exception:
            sys.stderr.write(f"{installation.stack.last_words()}\n")
            raise
        finally:
            connections.close_all()
            installation.stack.stop()
            library.close()
            source.shutdown()
            source.server_close()


def _made(kind: str, folder: Path, source: Source, library: Library) -> Installation:
    instance = make_private_folder(folder / "instance")
    armed = make_private_folder(folder / "failpoints")
    port, broker_port = free_port(), free_port()
    cluster = Cluster(folder, free_port()) if kind == "servers" else None
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _OWN},
        **(_MADE_UP if cluster else {}),
        "INSTANCE_DIR": str(instance),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "RUN_LEASE_SECONDS": str(LEASE_SECONDS),
        "ALLOW_PRIVATE_HOSTS": f"{source.host},{library.host}",
        "LIBRARY_GRACE_HOURS": "0",  # an account ends in the round in which its student drops
        "FAILPOINTS_DIR": str(armed),
        "BASE_URL": f"http://127.0.0.1:{port}",
        "PYTHONUNBUFFERED": "1",
    }
    if cluster is not None:
        environment |= {"DATABASE_URL": cluster.url, "REDIS_URL": f"redis://127.0.0.1:{broker_port}/0"}
    os.environ.clear()
    os.environ.update(environment)
    return Installation(
        kind,
        Stack(folder, environment, _commands(instance, port, broker_port, cluster)),
        source,
        library,
        port,
        cluster,
    )


def _commands(instance: Path, port: int, broker_port: int, cluster: Cluster | None) -> dict[str, list[str]]:
    broker = broker_command(broker_socket(instance), instance)
    hooks = ("--config", "python:integrations.management.parent_death")
    web = (
        "-m",
        "gunicorn",
        "config.wsgi",
        "--bind",
        f"127.0.0.1:{port}",
        "--worker-class",
        "gthread",
        *hooks,
    )
    worker = ("--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")
    return {
        **({"database": cluster.command} if cluster else {}),
        "broker": [*broker, "--port", str(broker_port)] if cluster else broker,
        "web": python(*web, "--threads", "2", "--no-control-socket"),
        "worker": python("-m", "celery", "-A", "config", "worker", *worker),
        "beat": python("-m", "celery", "-A", "tests.chaos.hasty", "beat", "--max-interval", "1"),
    }


def _start_database(installation: Installation) -> None:
    if installation.cluster is not None:
        installation.cluster.make()
        installation.stack.start("database")
        installation.wait_for_database()
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    connections.close_all()


def start_processes(installation: Installation) -> None:
    """Start what works on the database, once it has been filled."""
    for name in ("broker", "web", "worker", "beat"):
        installation.stack.start(name)
    installation.wait_until_it_serves()
