"""Backups of an embedded installation: one file with its database and the trail's heads, and without its keys.

A backup is a tar of manifest.json, matricula.sqlite3 and audit-heads/. The database is copied by SQLite's own backup
(sqlite.org/backup.html), in one step: what it holds is one moment, whoever writes meanwhile, and no writer waits for it.
Restoring writes through the same interface, so that it is one transaction to whoever has the database open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

import orjson
from django.conf import settings
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from apiauth.sealed import key_ids
from integrations.management.broker import broker_answers

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "matricula.sqlite3"
HEADS: Final = "audit-heads/"
_HEAD_NAME: Final = re.compile(r"(latest|head-[0-9TZ]+-[0-9]+)\.json")
_MAX_SMALL_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_BUSY_SECONDS: Final = 30


class BackupRefused(Exception):
    """A backup cannot be made or restored; the text says why and what to do. Nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `migrations` are "app.name" of all that its database has had; `key_ids` name the keys
    that its secrets are sealed with (sealed.py), in hexadecimal."""

    format: int
    made_at: str
    database_bytes: int
    database_sha256: str
    migrations: list[str]
    key_ids: list[str]

    @property
    def lacks_a_key(self) -> bool:
        """Whether this installation does not have every key of the backup."""
        return not set(self.key_ids) <= set(key_ids())


# --- making -------------------------------------------------------------------------------------------------


def make_backup(file: Path) -> Manifest:
    """Write a backup to `file`, whole or not at all. Raises BackupRefused where there is such a file, or where the
    database is not one of embedded mode."""
    database = _embedded_database()
    if file.exists():
        raise BackupRefused(
            f"{file} is there already, and no backup is ever written over: choose another name."
        )
    if not file.parent.is_dir():
        raise BackupRefused(f"There is no folder {file.parent}.")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=file.parent) as folder:
        copy, draft = Path(folder, DATABASE), Path(folder, "backup.tar")
        _copy_database(database, copy)
        manifest = Manifest(
            format=FORMAT,
            made_at=timezone.now().isoformat(timespec="seconds"),
            database_bytes=copy.stat().st_size,
            database_sha256=_digest_of(copy),
            migrations=_migrations_of(copy),
            key_ids=key_ids(),
        )
        _write(draft, manifest, copy)
        try:
            file.hardlink_to(draft)
        except FileExistsError:
            raise BackupRefused(f"{file} has come to be there meanwhile: choose another name.") from None
    return manifest


def _embedded_database() -> Path:
    if connection.vendor != "sqlite":
        raise BackupRefused(
            "This installation's database is on a PostgreSQL server: back it up there, with pg_dump or continuous "
            "archiving (docs/operations.md, Backups)."
        )
    return Path(connection.settings_dict["NAME"])


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database in one step, and see that the copy is whole."""
    with (
        closing(sqlite3.connect(source, timeout=_BUSY_SECONDS)) as database,
        closing(sqlite3.connect(target, timeout=_BUSY_SECONDS)) as copy,
    ):
        database.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")
    check_database(target)


def check_database(file: Path) -> None:
    """Raise BackupRefused when the file is no whole SQLite database."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise BackupRefused(f"The database is damaged ({found}): restore the newest backup that is whole.")


def _migrations_of(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1").fetchall()
    return [name for (name,) in rows]


def _digest_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(draft: Path, manifest: Manifest, database: Path) -> None:
    with draft.open("xb") as file:
        draft.chmod(0o600)
        with tarfile.open(fileobj=file, mode="w") as backup:
            content = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
            entry = tarfile.TarInfo(MANIFEST)
            entry.size = len(content)
            backup.addfile(entry, BytesIO(content))
            backup.add(database, DATABASE)
            for head in sorted(Path(settings.AUDIT_HEAD_DIR).glob("*.json")):
                if _HEAD_NAME.fullmatch(head.name):
                    backup.add(head, HEADS + head.name)
        file.flush()
        os.fsync(file.fileno())


# --- restoring ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """What was restored, and where what stood there before is kept; None where nothing did."""

    manifest: Manifest
    kept: Path | None


def restore_backup(file: Path, *, overwrite: bool, while_running: bool) -> Restored:
    """Make the installation's database what it was when `file` was made. What stands there is kept beside it.

    Raises BackupRefused where the file is no whole backup or one of a newer release, where there is a database and not
    `overwrite`, and where processes run and not `while_running`.
    """
    database = _embedded_database()
    with (
        _stopped(allowed=while_running),
        tempfile.TemporaryDirectory(prefix=".restore-", dir=database.parent) as folder,
    ):
        unpacked = Path(folder, DATABASE)
        with _opened(file) as backup:
            manifest = _manifest_of(backup)
            _unpack(backup, manifest, unpacked)
            is_there = database.exists() and bool(_tables_of(database))
            if is_there and not overwrite:
                raise BackupRefused(
                    f"There is a database already, {database}. With --overwrite it is kept under another name and replaced."
                )
            kept = _keep(database) if is_there else None
            connections.close_all()
            _copy_database_over(unpacked, database)
            _restore_heads(backup)
    return Restored(manifest, kept)


@contextmanager
def _stopped(*, allowed: bool) -> Iterator[None]:
    """Keep `up` from starting inside the block. Raises BackupRefused where it, or another process that works, runs."""
    with (settings.INSTANCE_DIR / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_running = broker_answers(settings.CELERY_BROKER_URL)
        except BlockingIOError:
            is_running = True
        if is_running and not allowed:
            raise BackupRefused(
                f"Processes of {settings.INSTANCE_DIR} are running: stop them first. With --while-running the database is "
                "replaced under them in one transaction; what they were about fails, and is done again."
            )
        yield


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, mode="r:") as backup:
            yield backup
    except FileNotFoundError:
        raise BackupRefused(f"There is no file {file}.") from None
    except (tarfile.TarError, OSError, KeyError, ValueError, TypeError, EOFError) as error:
        raise BackupRefused(f"{file} is no whole backup of Matricula ({type(error).__name__}).") from None


def _member(backup: tarfile.TarFile, name: str) -> IO[bytes]:
    content = backup.extractfile(name)
    if content is None:
        raise ValueError(name)
    return content


def _manifest_of(backup: tarfile.TarFile) -> Manifest:
    said = orjson.loads(_member(backup, MANIFEST).read(_MAX_SMALL_BYTES))
    if said["format"] != FORMAT:
        raise BackupRefused(
            f"The backup has format {said['format']}, and this release reads format {FORMAT}."
        )
    manifest = Manifest(**said)
    known = {".".join(key) for key in MigrationLoader(None).disk_migrations}
    if unknown := sorted(set(manifest.migrations) - known):
        raise BackupRefused(
            f"The backup is of a release that this one does not know ({unknown[-1]}): restore it with that release."
        )
    return manifest


def _unpack(backup: tarfile.TarFile, manifest: Manifest, target: Path) -> None:
    digest = hashlib.sha256()
    content = _member(backup, DATABASE)
    with target.open("xb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != manifest.database_sha256:
        raise BackupRefused(
            "The backup was changed or damaged: its database is not the one that its manifest tells of."
        )
    check_database(target)


def _tables_of(database: Path) -> list[str]:
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as file:
        return [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _keep(database: Path) -> Path:
    kept = database.with_name(
        f"{database.name}.before-restore-{timezone.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    )
    with (
        closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as present,
        closing(sqlite3.connect(kept, timeout=_BUSY_SECONDS)) as copy,
    ):
        present.backup(copy, pages=-1)
    kept.chmod(0o600)
    return kept


def _copy_database_over(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(source)) as restored,
        closing(sqlite3.connect(target, timeout=_BUSY_SECONDS)) as present,
    ):
        restored.backup(present, pages=-1)


def _restore_heads(backup: tarfile.TarFile) -> None:
    """Bring back the heads that are not there. Those that are stay: they may know more than the backup."""
    folder = Path(settings.AUDIT_HEAD_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in backup.getnames():
        head = folder / name.removeprefix(HEADS)
        if name.startswith(HEADS) and _HEAD_NAME.fullmatch(head.name) and not head.exists():
            with contextlib.suppress(FileExistsError), head.open("xb") as file:
                file.write(_member(backup, name).read(_MAX_SMALL_BYTES))
