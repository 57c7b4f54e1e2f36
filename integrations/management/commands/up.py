"""`manage.py up`: the whole installation on this machine, from one command until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, call_command
from django.core.management.base import CommandParser
from django.db import OperationalError, connections
from django.urls import reverse

from integrations.management import demo, processes
from integrations.management.accounts import Login, ensure_login
from integrations.management.broker import NoBrokerError, broker_answers
from integrations.management.sandbox import SANDBOX, provide_sandbox
from integrations.management.supervisor import ChildFailedError, Supervisor, ToldToStopError
from registration.models import Student

LAST_PORT = 65_535
FIRST_STUDENT = "S0000001"


class CannotStartError(Exception):
    """Why nothing can be started, in one line."""


class Command(BaseCommand):
    help = "Start everything on this machine, say where it is, and stop it on Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo", action="store_true", help="with a demo university and simulated systems"
        )
        parser.add_argument("--port", type=_port, default=8000, help="of the web server, on 127.0.0.1 (8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _only_one(settings.INSTANCE_DIR):
                self._run(options["port"], with_demo=options["demo"])
        except ToldToStopError:
            raise SystemExit("matricula: stopped before everything was up") from None
        except (CannotStartError, ChildFailedError, NoBrokerError) as problem:
            raise SystemExit(f"matricula: {problem}") from None

    def _run(self, port: int, *, with_demo: bool) -> None:
        if not processes.is_free(port):
            raise CannotStartError(f"port {port} is taken by another program; --port chooses another one")
        address = f"http://{processes.HOST}:{port}"
        (settings.INSTANCE_DIR / "address").write_text(f"{address}\n")
        base_url = os.environ.get("BASE_URL", "").rstrip("/") or address
        simulators = demo.choose_simulators(settings.INSTANCE_DIR) if with_demo else []
        _say(f"starting in {settings.INSTANCE_DIR}; the first start takes a little longer")
        with Supervisor(
            logs=settings.INSTANCE_DIR / "logs",
            folder=settings.BASE_DIR,
            environment=_environment(base_url, simulators),
            say=_say,
        ) as supervisor:
            _provide_broker(supervisor)
            _migrate()
            first_looks = _prepare_demo(simulators, base_url) if with_demo else {}
            connections.close_all()
            for simulator in simulators:
                supervisor.start(processes.simulator(simulator.system, simulator.port, simulator.records))
            if with_demo:
                _begin_the_term(supervisor)
            supervisor.start(processes.web(port, base_url))
            supervisor.start(processes.worker(port))
            supervisor.start(processes.beat(port))
            # Last of all: a start that fails must not have made a password that nobody was told.
            logins = _make_logins(with_demo=with_demo)
            connections.close_all()
            self.stdout.write(_ready(address, base_url, logins, first_looks))
            self.stdout.flush()
            supervisor.watch()
            _say("stopping: what is under way is finished first; Ctrl-C again cuts that short")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {LAST_PORT}")
    return int(text)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel lets go of it when this process ends, however it ends."""
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStartError(
                f"{folder} is in use by another `up`; INSTANCE_DIR chooses another folder"
            ) from None
        yield


def _environment(base_url: str, simulators: list[demo.Simulator]) -> dict[str, str]:
    """What the children are told beside what the operator said: one folder, one address, and no password."""
    reachable = [
        os.environ.get("ALLOW_PRIVATE_HOSTS", ""),
        *(f"{processes.HOST}:{simulator.port}" for simulator in simulators),
    ]
    told = {name: value for name, value in os.environ.items() if name != "ADMIN_PASSWORD"}
    return {
        **told,
        "INSTANCE_DIR": str(settings.INSTANCE_DIR),
        "BASE_URL": base_url,
        "ALLOW_PRIVATE_HOSTS": ",".join(filter(None, reachable)),
        "PYTHONUNBUFFERED": "1",  # what a process says last before it dies is in its log
    }


def _provide_broker(supervisor: Supervisor) -> None:
    if settings.EMBEDDED:
        supervisor.start(processes.broker())
    elif not broker_answers(settings.CELERY_BROKER_URL):
        raise CannotStartError("no answer from the server that REDIS_URL names")


def _migrate() -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as problem:
        reason = str(problem).strip().splitlines()[0]
        raise CannotStartError(f"the database cannot be used: {reason}") from problem


def _make_logins(*, with_demo: bool) -> dict[str, Login]:
    password = os.environ.get("ADMIN_PASSWORD", "")
    email = "admin@example.edu" if with_demo else ""
    logins = {
        "administrator": ensure_login(
            "admin", "Administrator", email=email, superuser=True, password=password
        )
    }
    if with_demo:
        logins["advisor"] = ensure_login(
            "advisor", "Advisor", email="advisor@example.edu", superuser=False, password=password
        )
    return logins


def _prepare_demo(simulators: list[demo.Simulator], base_url: str) -> dict[str, str]:
    """Load the demo; return what to look at first, by what it shows: pages, and the keys of its partner."""
    demo.load_university()
    connection, *_ = [demo.connect(simulator) for simulator in simulators]
    student = Student.objects.get(number=FIRST_STUDENT)
    student_page = reverse("admin:registration_student_change", args=[student.pk])
    connection_page = reverse("admin:integrations_connection_change", args=[connection.pk])
    keys = provide_sandbox(settings.INSTANCE_DIR, base_url)
    return {
        "a student": f"{base_url}{student_page}",
        "a connection": f"{base_url}{connection_page}",
        "partner keys": str(keys) if keys else f"(their file is gone: rotate the secret of {SANDBOX})",
    }


def _begin_the_term(supervisor: Supervisor) -> None:
    """Sync rooms and charge fees once; what does not come right here is said, and can be done from the admin."""
    for name, command in demo.commands_of_the_first_start().items():
        if supervisor.run(name, command) != 0:
            _say(f"{name} did not end well; see {supervisor.log_of(name)}")
    connections.close_all()


def _ready(address: str, base_url: str, logins: dict[str, Login], first_looks: dict[str, str]) -> str:
    rows = {
        "address": f"{base_url}/",
        **{role: str(login) for role, login in logins.items()},
        **first_looks,
        "health": f"curl -fsS {address}/readyz",
        "logs": settings.INSTANCE_DIR / "logs",
        "mail": getattr(settings, "EMAIL_FILE_PATH", "sent by the server that EMAIL_URL names"),
        "stop": "Ctrl-C",
    }
    return "\n".join(
        ["Ready: Matricula is up.", "", *(f"  {name:<14} {value}" for name, value in rows.items()), ""]
    )


def _say(message: str) -> None:
    # Whoever read our messages may be gone; that is no reason to leave the children alone.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"matricula: {message}\n")
        sys.stderr.flush()
