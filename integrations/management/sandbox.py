"""The demo's partner: a consumer for trying the API out. Its keys lie in the instance folder, which is its owner's alone, as a
file that a shell reads: a secret is told once, and this is where. Only what is made up is behind it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from django.db import transaction

import audit
from apiauth.models import Consumer
from apiauth.operations import Credentials
from apiauth.scopes import SCOPES
from audit.context import acting
from registration.disclosure import admit_consumer, students_named

SANDBOX: Final = "Sandbox partner"
# What partners do; connections and their runs are the office's own.
SANDBOX_SCOPES: Final = tuple(scope for scope in SCOPES if not scope.startswith("integrations:"))
_FILE: Final = "sandbox.env"
_MODE: Final = 0o600


def provide_sandbox(folder: Path, base_url: str) -> Path | None:
    """Make the consumer where there never was one, and return the file with its keys, which says where the API is now.

    None where the file is gone: its secret is known to nobody then, and giving another one is a person's decision.
    """
    file = folder / _FILE
    if not Consumer.objects.called(SANDBOX).exists():
        with (
            transaction.atomic()
        ):  # if it ends before the commit, the file is of nobody, and the next start writes it anew
            _write(file, base_url, *_keys(_admit()))
    elif not file.exists():
        return None
    else:
        _, *keys = file.read_text().splitlines()
        _write(file, base_url, *keys)
    return file


def _admit() -> Credentials:
    with acting(audit.Actor(kind="command", name="command: up")):
        return admit_consumer(
            SANDBOX,
            scopes=list(SANDBOX_SCOPES),
            contact="partner@example.edu",
            students=students_named("all"),
            purpose="Trying the API of the demo, whose students are made up",
        )


def _keys(made: Credentials) -> tuple[str, str]:
    return f"export CLIENT_ID={made.consumer.client_id}", f"export CLIENT_SECRET={made.secret}"


def _write(file: Path, base_url: str, *keys: str) -> None:
    """Whole or not at all, and never for a moment readable to others."""
    new = file.with_suffix(".new")
    new.touch(_MODE)
    new.write_text("\n".join([f"export BASE={shlex.quote(base_url)}", *keys, ""]))
    new.replace(file)
