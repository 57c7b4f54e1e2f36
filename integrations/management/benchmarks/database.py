"""A database that is there for one run: beside the installation's own, on the same server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from django.core.management import call_command
from django.db import ProgrammingError, connection

_SUFFIX: Final = "_bench"


@contextmanager
def scratch_database() -> Iterator[str]:
    """Make an empty database with the product's tables, lead this process to it, and yield its address. It is dropped at the
    end, and at the start where a run was killed."""
    own = connection.settings_dict["NAME"]
    scratch = f"{own}{_SUFFIX}_{os.getuid()}"
    _recreate(scratch)
    try:
        _lead_to(scratch)
        call_command("migrate", verbosity=0)
        yield address_of(connection.settings_dict)
    finally:
        _lead_to(own)
        with connection.cursor() as cursor:
            cursor.execute(_drop(scratch))


@contextmanager
def copied_database() -> Iterator[None]:
    """Lead this process to a copy of the database that it is led to, and back at the end, when the copy is dropped."""
    original = connection.settings_dict["NAME"]
    copy = f"{original}_round"
    connection.close()  # a database that somebody is connected to cannot be copied
    with connection._nodb_cursor() as cursor:  # noqa: SLF001 - Django's own way to make a database for tests
        cursor.execute(_drop(copy))
        cursor.execute(
            f"CREATE DATABASE {connection.ops.quote_name(copy)} TEMPLATE {connection.ops.quote_name(original)}"
        )
    try:
        _lead_to(copy)
        yield
    finally:
        _lead_to(original)
        with connection.cursor() as cursor:
            cursor.execute(_drop(copy))


def _recreate(name: str) -> None:
    """Raises RuntimeError where the role may not make databases, as an installation's own may not (docs/operations.md)."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_drop(name))
            cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
    except ProgrammingError as error:
        raise RuntimeError(
            "The role of DATABASE_URL may not make a database: give one that may (CREATEDB), on a server for measuring."
        ) from error


def _drop(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {connection.ops.quote_name(name)} WITH (FORCE)"


def _lead_to(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def address_of(at: dict[str, Any]) -> str:
    """The address of a database as `DATABASE_URL` takes it."""
    who = f"{quote(at['USER'] or '')}:{quote(at['PASSWORD'] or '')}@" if at["USER"] else ""
    return f"postgres://{who}{at['HOST'] or '127.0.0.1'}:{at['PORT'] or 5432}/{quote(at['NAME'])}"
