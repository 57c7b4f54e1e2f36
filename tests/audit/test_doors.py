"""Every command and every task leaves an event, itself or through what it calls; those that do not say why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("config", "integrations", "registration", "apiauth", "audit")
ENTRIES = {"audit.record", "audit.record_or_count", "audit.floods.record_or_count"}

# Commands that leave no event, and why.
COMMANDS_WITHOUT_EVENTS = {
    "api_document": "writes down what the API is, and knows no row",
    "audit_roles": "prints statements, and runs none of them",
    "doctor": "changes nothing, and tells of parts",
    "seal_audit": "proves events, and is none: a seal for each sealing would never end",
    "simulate": "stands in for another system, and knows nothing of ours",
    "verify_audit": "changes nothing, and tells of events by number",
    "verify_ledger": "changes nothing, and names entries by number",
}
# Tasks that leave no event, and why.
TASKS_WITHOUT_EVENTS = {
    "audit.tasks.seal": "as seal_audit",
    "audit.tasks.export_hourly_head": "as seal_audit",
    "apiauth.tasks.store_usage": "figures, of requests that are counted already",
    "apiauth.tasks.remove_expired_sessions": "what is over already",
    "apiauth.tasks.remove_expired_tokens": "each issuance is on the trail with its hour",
    "integrations.tasks.show_life": "a moment that the next one replaces; an outage is an alert",
    "integrations.tasks.sweep_runs": "rings for runs, whose trail they keep themselves; a silent feed is an alert",
    "integrations.tasks.notice_certificates": "an alert is a row that stays",
    "integrations.tasks.verify_ledger": "the same; it changes nothing else",
}


# --- who calls whom ---------------------------------------------------------------------------------------


@cache
def modules() -> dict[str, ast.Module]:
    """The modules of all rooms by their dotted names, migrations left out."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "migrations" not in path.parts
    }


@cache
def names_in(module: str) -> dict[str, str]:
    """What each name of a module stands for: what it defines, and what it imports, wherever in it."""
    names: dict[str, str] = {}
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            names |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.setdefault(node.name, f"{module}.{node.name}")
    return names


def resolved(name: str) -> str:
    """Where what a package passes on was defined: registration.operations.drop as registration.operations.enrollment.drop."""
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        module, _, last = name.rpartition(".")
        if module in modules() and last in names_in(module):
            name = names_in(module)[last]
    return name


def named_by(module: str, node: ast.AST) -> Iterator[str]:
    """What of the rooms is named somewhere within `node`, called there or handed on."""
    names = names_in(module)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            yield resolved(names[part.id])
        elif isinstance(part, ast.Attribute):
            head, _, rest = ast.unparse(part).partition(".")
            if head == "self" and rest in names:
                yield resolved(names[rest])
            elif head in names:
                yield resolved(f"{names[head]}.{rest}")


@cache
def uses() -> dict[str, frozenset[str]]:
    """For every function, method and class of the rooms, what it names."""
    return {
        f"{module}.{node.name}": frozenset(named_by(module, node))
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@cache
def leads_to_an_event(name: str) -> bool:
    """Whether one of the trail's entries is reached from a function."""
    reached, ahead = set(), {name}
    while ahead:
        reached |= ahead
        ahead = {other for each in ahead for other in uses().get(each, ())} - reached
    return bool(reached & ENTRIES)


# --- the rules --------------------------------------------------------------------------------------------


def test_calls_are_followed_through_packages_tables_and_modules() -> None:
    assert leads_to_an_event("registration.operations.enrollment.drop")
    assert leads_to_an_event("integrations.management.commands.runs.Command")
    assert leads_to_an_event("integrations.tasks.run_sync")
    assert not leads_to_an_event("audit.sealing.seal_events")
    assert not leads_to_an_event("registration.money.to_minor")


def test_every_command_leaves_an_event_or_says_why_not() -> None:
    commands = {name for name in modules() if ".management.commands." in name}
    assert len(commands) > 15
    silent = {
        name.rpartition(".")[2]
        for name in commands
        if not any(leads_to_an_event(other) for other in named_by(name, modules()[name]))
    }
    assert silent == set(COMMANDS_WITHOUT_EVENTS)


def test_every_task_leaves_an_event_or_says_why_not() -> None:
    tasks = {
        f"{name}.{node.name}"
        for name, tree in modules().items()
        if name.endswith(".tasks")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }
    assert len(tasks) > 10
    assert {name for name in tasks if not leads_to_an_event(name)} == set(TASKS_WITHOUT_EVENTS)
