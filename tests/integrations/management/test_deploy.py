"""A deploy with runs in flight: workers drain, old and new code meet in one database, and back again loses nothing."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.apps.registry import Apps
from django.conf import settings
from django.db import connection as database
from django.db.migrations.executor import MigrationExecutor
from werkzeug import Request, Response

from config.instance import broker_socket
from integrations.due_work import start_due_runs
from integrations.management.broker import broker_answers, broker_command
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from integrations.tasks import run_sync
from tests.database_roles import become_owner, become_runtime
from tests.integrations.conftest import Load
from tests.integrations.feed import Feed, award
from tests.integrations.management.home import ROOT, START_SECONDS, eventually
from tests.processes import environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@contextmanager
def process(command: list[str], **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(command, cwd=ROOT, env=environment(**variables), stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def worker(tmp_path: Path, feed: Feed) -> Iterator[tuple[subprocess.Popen[bytes], Celery]]:
    """A worker with a broker of its own, and who rings for it."""
    url = f"redis+socket://{broker_socket(tmp_path)}"
    arguments = [
        "-m",
        "celery",
        "-A",
        "config",
        "worker",
        "--concurrency",
        "1",
        "--without-mingle",
        "-n",
        "drain@test",
    ]
    keys = {"SECRET_KEY": settings.SECRET_KEY, "CREDENTIAL_KEYS": ",".join(settings.CREDENTIAL_KEYS)}
    with (
        process(broker_command(broker_socket(tmp_path), tmp_path)),
        process([sys.executable, *arguments], INSTANCE_DIR=str(tmp_path), REDIS_URL="", **keys) as running,
        Celery(broker=url, set_as_current=False) as caller,
    ):
        eventually(lambda: broker_answers(url))
        eventually(lambda: bool(caller.control.ping(timeout=1)))
        yield running, caller


def test_a_worker_that_is_told_to_end_finishes_its_run_and_leaves_the_next_one_to_others(
    worker: tuple[subprocess.Popen[bytes], Celery], load: Load, feed: Feed
) -> None:
    running, caller = worker
    feed.awards, feed.header = [award(1)], None
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer(request: Request) -> Response:
        is_asked.set()
        may_answer.wait(START_SECONDS)
        return Response(json.dumps(feed.page(request)), content_type="application/json")

    feed.answer = answer
    runs = [
        request_run(load(slug=slug, name=slug).streams.get(), RunTrigger.ADMIN)
        for slug in ("first", "second")
    ]
    caller.send_task("integrations.tasks.run_sync", [runs[0].pk])
    assert is_asked.wait(START_SECONDS), list(SyncRun.objects.values_list("status", "reason", "technical"))
    running.send_signal(signal.SIGTERM)
    caller.send_task("integrations.tasks.run_sync", [runs[1].pk])
    may_answer.set()
    assert running.wait(START_SECONDS) == 0
    statuses = [SyncRun.objects.get(pk=run.pk).status for run in runs]
    assert statuses == ["applied", "queued"]
    run_sync(runs[1].pk)  # as the worker of the new release does when it is rung for
    assert SyncRun.objects.get(pk=runs[1].pk).status == "applied"


# --- one database, two releases -----------------------------------------------------------------------------


@pytest.fixture
def before_schedules() -> Iterator[tuple[str, str]]:
    """The newest migration of the release that had intervals alone; the tables are those of today again at the end."""
    if database.vendor == "postgresql":
        become_owner()
    executor = MigrationExecutor(database)
    (mine,) = [
        key
        for key in executor.loader.disk_migrations
        if key[0] == "integrations" and key[1].endswith("_schedules")
    ]
    (parent,) = [
        key for key in executor.loader.disk_migrations[mine].dependencies if key[0] == "integrations"
    ]
    try:
        yield parent
    finally:
        migrate_to(*MigrationExecutor(database).loader.graph.leaf_nodes())
        if database.vendor == "postgresql":
            become_runtime()


def migrate_to(*targets: tuple[str, str]) -> None:
    executor = MigrationExecutor(database)
    executor.migrate(list(targets))


def apps_of(target: tuple[str, str]) -> Apps:
    """The models as the code of that release has them."""
    return MigrationExecutor(database).loader.project_state([target]).apps


def test_code_of_the_release_before_writes_into_the_tables_of_this_one(
    before_schedules: tuple[str, str],
) -> None:
    then = apps_of(before_schedules)
    made = then.get_model("integrations", "Connection").objects.create(
        slug="old", name="Old", connector="rest", base_url="https://old.example", every_minutes=60
    )
    now = datetime.datetime.now(datetime.UTC)
    old_stream: Any = then.get_model("integrations", "Stream")
    old_stream.objects.create(
        connection=made, dataset="aid_awards", next_run_at=now - datetime.timedelta(minutes=1)
    )
    connection = Connection.objects.get()
    assert (connection.cron, connection.blackouts, connection.jitter_minutes) == ("", [], 0)
    assert [start_due_runs(), start_due_runs()] == [1, 0]
    assert SyncRun.objects.get().slot_at == now - datetime.timedelta(minutes=1)


def test_back_to_the_release_before_and_forward_again_keeps_connections_runs_and_what_is_due(
    before_schedules: tuple[str, str], load: Load
) -> None:
    load(schedule={"every_minutes": 60})
    load(slug="nightly", schedule={"daily_at": "02:00", "time_zone": "America/Chicago"})
    assert start_due_runs() == 1
    due = list(Stream.objects.order_by("pk").values_list("next_run_at", flat=True))
    migrate_to(before_schedules)
    then = apps_of(before_schedules)
    assert list(then.get_model("integrations", "Stream").objects.order_by("pk").values_list("next_run_at", flat=True)) == due  # fmt: skip
    assert then.get_model("integrations", "SyncRun").objects.count() == 1
    # What it cannot say is not synced by itself there, rather than at a time that nobody chose.
    assert then.get_model("integrations", "Connection").objects.get(slug="nightly").every_minutes is None
    migrate_to(*MigrationExecutor(database).loader.graph.leaf_nodes())
    assert Stream.objects.order_by("pk")[0].next_slot_at == due[0]
    assert SyncRun.objects.count() == 1
