"""Migrations lead to what the models say, and back again, in a database of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from tests.refusals import promised_triggers, refusals_in_migrations

# Every migration three times over, beside another test on the same two processors.
pytestmark = pytest.mark.timeout(450)

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("integrations", "registration", "apiauth", "audit")

# Migrates our rooms and what they stand on, our rooms back to nothing, and there again; prints what the database
# holds at each stage.
THERE_AND_BACK = """
import json, sys
import django
django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

QUERIES = {
    "sqlite": ["SELECT type, name, tbl_name, sql FROM sqlite_master"],
    "postgresql": [
        "SELECT 'table', table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default, "
        "character_maximum_length) FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT 'index', indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT 'constraint', conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "SELECT 'trigger', tgname, tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger "
        "WHERE NOT tgisinternal",
        "SELECT 'function', proname, '', prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    ],
}
ROLES = (
    "SELECT 'role', g.name, c.app_label, p.codename FROM auth_group g "
    "LEFT JOIN auth_group_permissions gp ON gp.group_id = g.id LEFT JOIN auth_permission p ON p.id = gp.permission_id "
    "LEFT JOIN django_content_type c ON c.id = p.content_type_id"
)

def state():
    rows = []
    with connection.cursor() as cursor:
        for query in [*QUERIES[connection.vendor], ROLES]:
            cursor.execute(query)
            rows += cursor.fetchall()
    return sorted([str(part) for part in row] for row in rows)

def migrate_to(targets):
    executor = MigrationExecutor(connection)
    executor.migrate(targets(executor.loader.graph))
    return state()

def newest(graph):
    return [leaf for leaf in graph.leaf_nodes() if leaf[0] in sys.argv[1:]]

def nothing(graph):
    return [(room, None) for room in sys.argv[1:]]

stages = {
    "there": migrate_to(newest),
    "back": migrate_to(nothing),
    "there again": migrate_to(newest),
}
print(json.dumps(stages))
"""


@contextmanager
def empty_database(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that has an instance folder and a database of its own."""
    environment = {**os.environ, "INSTANCE_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "config.settings"}
    if connection.vendor == "sqlite":
        yield {**environment, "DATABASE_URL": ""}
        return
    own = f"{connection.settings_dict['NAME']}_away"
    server = {name: value for name, value in connection.get_connection_params().items() if name in _ADDRESS}
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as maintenance:
        name = sql.Identifier(own)
        maintenance.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
        maintenance.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield {**environment, "DATABASE_URL": os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{own}"}
        finally:
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


_ADDRESS = ("host", "port", "user", "password")

Stages = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def stages(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    with empty_database(tmp_path_factory.mktemp("instance")) as environment:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", THERE_AND_BACK, *ROOMS],
            cwd=ROOT, env=environment, capture_output=True, timeout=400, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    found: Stages = orjson.loads(done.stdout)
    return found


def of_our_rooms(stage: list[list[str]]) -> list[list[str]]:
    """The tables, indexes, constraints, triggers, functions and roles of our rooms."""
    return [row for row in stage if row[0] == "role" or any(part.startswith(ROOMS) for part in row[1:3])]


def test_every_migration_can_be_taken_back_and_leaves_nothing(stages: Stages) -> None:
    assert len(of_our_rooms(stages["there"])) > 100
    assert of_our_rooms(stages["back"]) == []


def test_going_back_and_there_again_leads_to_the_same_database(stages: Stages) -> None:
    assert stages["there again"] == stages["there"]


def test_the_triggers_are_made_again_too(stages: Stages) -> None:
    promised = {name for refusal in refusals_in_migrations() for name in promised_triggers(refusal)}
    there = {name for kind, name, *_ in stages["there again"] if kind == "trigger"}
    assert promised
    assert promised <= there


def test_no_model_is_ahead_of_its_migrations(db: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("makemigrations", check=True, dry_run=True)
    assert "No changes detected" in capsys.readouterr().out
