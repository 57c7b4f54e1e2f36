"""The conventions of the project, each as a test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db import models
from django.db.models import signals

from config.instance import kept_key
from integrations.management.output import OutcomeCommand

pytestmark = pytest.mark.any_database  # the text of the code

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("config", "integrations", "registration", "apiauth", "audit")
ROOMS_WITH_TABLES = ("integrations", "registration", "apiauth", "audit")

# Words that say nothing of what a thing does. "Manager" is Django's word, for Django's own class.
EMPTY_WORDS = frozenset(
    [
        "helper",
        "helpers",
        "util",
        "utils",
        "common",
        "core",
        "service",
        "services",
        "misc",
        "manager",
        "managers",
    ]
)

# What breaks a convention and is known to, with the reason; what no longer does must leave the list.
MOMENTS_BY_ANOTHER_NAME = {
    "AuditEvent.at": "the event's one moment needs no other word",
}
CHOICES_WITHOUT_CONSTRAINT: dict[str, str] = {}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules_of(*rooms: str) -> list[Path]:
    """The Python files of rooms, migrations left out."""
    return sorted(
        path for room in rooms for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts
    )


def our_models() -> list[type[models.Model]]:
    return [model for room in ROOMS_WITH_TABLES for model in apps.get_app_config(room).get_models()]


def our_fields() -> Iterator[tuple[str, models.Field[Any, Any]]]:
    """Every column that we declare ourselves, by "Model.field"; what Django's or a package's base class has is theirs."""
    for model in our_models():
        theirs = {
            field.name
            for base in model.__mro__[1:]
            if hasattr(base, "_meta") and not base.__module__.startswith(ROOMS)
            for field in base._meta.get_fields()
        }
        for field in model._meta.concrete_fields:
            if field.name not in theirs:
                yield f"{model.__name__}.{field.name}", field


def in_words(name: str) -> list[str]:
    """`ConnectionManager`, `connection_manager` and `connection-manager` as [connection, manager]."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").split("_")


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in modules_of(*ROOMS)} == set(ROOMS)
    assert {model._meta.app_label for model in our_models()} == set(ROOMS_WITH_TABLES)
    assert {"LedgerEntry.amount_minor", "SyncRun.status"} <= {name for name, _ in our_fields()}


# --- rooms ------------------------------------------------------------------------------------------------


def test_rooms_and_parts_import_only_what_they_may() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [sys.executable, str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_contracts_are_of_the_one_chain_and_of_every_room() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert rules["contracts"][0]["layers"] == list(ROOMS)
    assert set(rules["root_packages"]) == set(ROOMS)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == set(ROOMS)


def test_signals_of_the_domain_are_sent_by_operations_alone() -> None:
    sending = re.compile(r"\b(enrollment|ledger|housing|library)_changed\.(send|send_robust)\(")
    senders = {path.relative_to(ROOT) for path in modules_of(*ROOMS) if sending.search(path.read_text())}
    # A package by what the operations are about: seats, bills, fees, housing, library accounts.
    assert {str(path.parent) for path in senders} == {"registration/operations"}


def test_the_trail_has_one_way_in() -> None:
    writing = re.compile(
        r"(?<!class )\bAuditEvent(\([^)]|\.objects\.(append|create|bulk_create|get_or_create|update_or_create)\()"
    )
    writers = {str(path.relative_to(ROOT)) for path in modules_of(*ROOMS) if writing.search(path.read_text())}
    assert writers == {"audit/__init__.py"}


def test_no_row_is_watched_by_a_receiver_of_ours() -> None:
    names = {"post_save", "pre_save", "post_delete", "pre_delete", "m2m_changed"}
    mentions = [
        at(path, node)
        for path in modules_of(*ROOMS)
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.alias) and node.name in names)
    ]
    assert mentions == []
    listening = [
        receiver
        for name in names
        for model in our_models()
        for part in getattr(signals, name)._live_receivers(model)
        for receiver in part
        if getattr(receiver, "__module__", "").startswith(ROOMS)
    ]
    assert listening == []


# --- names ------------------------------------------------------------------------------------------------


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    parts = {
        (path.relative_to(ROOT), part)
        for path in modules_of(*ROOMS, "tests")
        for part in [*path.relative_to(ROOT).parts[:-1], path.stem]
    }
    assert [str(path) for path, part in parts if EMPTY_WORDS & set(in_words(part))] == []


def test_no_class_has_a_name_that_says_nothing() -> None:
    classes = [
        (at(path, node), node.name)
        for path in modules_of(*ROOMS, "tests")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) > 30
    assert [(where, name) for where, name in classes if EMPTY_WORDS & set(in_words(name))] == []


def test_names_are_taken_apart_into_words() -> None:
    assert in_words("ConnectionManager") == ["connection", "manager"]
    assert in_words("management") == ["management"]
    assert in_words("http_utils") == ["http", "utils"]


def test_an_instant_ends_in_at_and_a_day_in_on() -> None:
    instants = {name for name, field in our_fields() if isinstance(field, models.DateTimeField)}
    days = {
        name
        for name, field in our_fields()
        if isinstance(field, models.DateField) and not isinstance(field, models.DateTimeField)
    }
    assert {"LedgerEntry.posted_at", "Term.starts_on"} <= instants | days
    assert {name for name in instants if not name.endswith("_at")} == set(MOMENTS_BY_ANOTHER_NAME)
    assert {name for name in days if not name.endswith("_on")} == set()


def test_only_an_instant_ends_in_at_and_only_a_day_in_on() -> None:
    wrong = [
        name
        for name, field in our_fields()
        if (name.endswith("_at") and not isinstance(field, models.DateTimeField))
        or (name.endswith("_on") and not isinstance(field, models.DateField))
    ]
    assert wrong == []


# --- tables -----------------------------------------------------------------------------------------------


def test_constraints_and_indexes_are_named_after_their_model() -> None:
    named = [
        (model.__name__, part.name)
        for model in our_models()
        for part in [*model._meta.constraints, *model._meta.indexes]
    ]
    assert len(named) > 40
    wrong = [(model, name) for model, name in named if not name.startswith("_".join(in_words(model)) + "_")]
    assert wrong == []
    assert len({name for _, name in named}) == len(named)


def test_no_rule_of_a_table_goes_without_a_name() -> None:
    together = [model.__name__ for model in our_models() if model._meta.unique_together]
    assert together == []


def test_nothing_is_kept_as_a_float() -> None:
    assert [name for name, field in our_fields() if isinstance(field, models.FloatField)] == []
    mentions = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "FloatField" in path.read_text()
    ]
    assert mentions == []


def allowed_values(condition: Any, field: str) -> Iterator[set[str]]:
    """The sets of values that a constraint's condition names for a field."""
    for child in condition.children:
        if isinstance(child, models.Q):
            yield from allowed_values(child, field)
        elif isinstance(child, tuple) and child[0] == f"{field}__in":
            yield set(child[1])


def test_a_column_of_choices_takes_no_other_value() -> None:
    def is_held(field: models.Field[Any, Any]) -> bool:
        declared = {value for value, _ in field.flatchoices} - {""}
        return any(
            found and found <= declared
            for constraint in field.model._meta.constraints
            if isinstance(constraint, models.CheckConstraint)
            for found in allowed_values(constraint.condition, field.name)
        )

    chosen = {name: is_held(field) for name, field in our_fields() if field.choices}
    assert len(chosen) > 5
    assert {name for name, held in chosen.items() if not held} == set(CHOICES_WITHOUT_CONSTRAINT)


# --- modules ----------------------------------------------------------------------------------------------


def test_every_module_says_what_it_is() -> None:
    speechless = [
        str(path.relative_to(ROOT))
        for path in modules_of(*ROOMS)
        if tree_of(path).body and not ast.get_docstring(tree_of(path))
    ]
    assert speechless == []


def test_nothing_is_printed_but_by_commands() -> None:
    printing = [
        at(path, node)
        for path in modules_of(*ROOMS)
        if "management" not in path.parts
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


# --- secrets ----------------------------------------------------------------------------------------------

SECRET_NAME = re.compile(r"(SECRET|PASSWORD|TOKEN|CREDENTIALS?|KEYS?)$")


def test_settings_hold_no_secret_in_the_clear() -> None:
    values: dict[str, ast.expr] = {
        target.id: node.value
        for node in tree_of(ROOT / "config/settings.py").body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and SECRET_NAME.search(target.id)
    }
    assert {"SECRET_KEY", "CREDENTIAL_KEYS"} <= set(values)
    # Each comes out of a call that is given no more than the name of its variable.
    assert {
        name: ast.unparse(value) for name, value in values.items() if not isinstance(value, ast.Call)
    } == {}
    texts = {
        part.value
        for value in values.values()
        for part in ast.walk(value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    assert texts <= {*values, ","}


def test_no_address_in_the_product_carries_a_password() -> None:
    with_password = re.compile(r"://[^/\s:@{}\"']*:[^/\s@{}\"']+@")
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert [str(path) for path in files if with_password.search(path.read_text())] == []
    assert with_password.search("postgres://user:secret@db.example.edu/x")


def test_each_installation_makes_a_key_of_its_own_and_keeps_it_to_itself(tmp_path: Path) -> None:
    one, other = kept_key(tmp_path / "one", "secret_key"), kept_key(tmp_path / "other", "secret_key")
    assert one != other
    assert len(one) >= 40
    assert kept_key(tmp_path / "one", "secret_key") == one
    path = tmp_path / "one" / "keys" / "secret_key"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


# --- commands ---------------------------------------------------------------------------------------------


def our_commands() -> dict[str, BaseCommand]:
    return {name: load_command_class(room, name) for name, room in get_commands().items() if room in ROOMS}


def options_of(parser: ArgumentParser) -> set[str]:
    """Every option of a command and of its subcommands."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for each in action.choices.values():
                options |= options_of(each)
    return options


def test_a_command_that_offers_json_ends_in_an_outcome_and_the_other_way_round() -> None:
    commands = our_commands()
    offering = {
        name for name in commands if "--json" in options_of(commands[name].create_parser("manage.py", name))
    }
    outcomes = {name for name, command in commands.items() if isinstance(command, OutcomeCommand)}
    assert offering == outcomes
    assert {"sync", "student"} <= offering


@pytest.mark.parametrize("name", sorted(our_commands()))
def test_every_command_says_what_it_does(name: str) -> None:
    assert our_commands()[name].help
