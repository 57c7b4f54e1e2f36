"""Heads: where the chain ended at a moment, signed and kept where the database's owner cannot quietly rewrite them.

A chain that was cut at its end, or made anew from some point on, is whole in itself. What a head said earlier is how one
sees it. `latest.json` follows every sealing; one file an hour is kept for good.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone

from audit.models import AuditCheckpoint, AuditSeal, Head
from audit.signing import VerifyingKey, is_signed, signed, whose

log = structlog.get_logger(__name__)

LATEST: Final = "latest.json"
PATTERN: Final = "head-*.json"
_MAX_HEAD_BYTES: Final = 4096


@dataclass(frozen=True)
class ExportedHead:
    """A head as a file tells it. `fault` says why it is not to be believed; empty when it is."""

    name: str
    position: int = 0
    digest: bytes = b""
    exported_at: str = ""
    fault: str = ""


def keep_latest_head() -> None:
    """Write the head of the moment over the one before. A folder that cannot be written is logged, and stops nothing:
    the hourly head says it again."""
    head = AuditSeal.objects.head()
    if not head.position:
        return
    try:
        _write(_folder() / LATEST, _statement(head), is_kept=False)
    except OSError as error:
        log.warning("audit.head_not_kept", reason=error.strerror)


def export_head() -> Path | None:
    """Keep the head of the moment for good, mail it where AUDIT_HEAD_EMAIL says, and return its file; None while
    nothing is sealed. Raises OSError when the folder cannot be written."""
    head = AuditSeal.objects.head()
    if not head.position:
        return None
    statement = _statement(head)
    path = _folder() / f"head-{timezone.now():%Y%m%dT%H%M%SZ}-{head.position}.json"
    _write(path, statement, is_kept=True)
    if settings.AUDIT_HEAD_EMAIL:
        send_mail(
            f"Matricula: head of the audit trail at {head.position:,}",
            orjson.dumps(statement, option=orjson.OPT_INDENT_2).decode() + "\n",
            None,
            [settings.AUDIT_HEAD_EMAIL],
        )
    return path


def exported_heads(keys: Sequence[VerifyingKey] | None = None) -> Iterator[ExportedHead]:
    """Every head that is kept, oldest first, the latest last, each held against `keys` (by default ours)."""
    folder = Path(settings.AUDIT_HEAD_DIR)
    for path in [*sorted(folder.glob(PATTERN)), folder / LATEST]:
        if path.exists():
            yield _read(path, keys)


def _statement(head: Head) -> dict[str, Any]:
    here = head.position - AuditCheckpoint.objects.newest().position
    return signed(
        {
            "matricula_audit_head": 1,
            "position": head.position,
            "digest": head.digest.hex(),
            "count": here,
            "sealed_at": head.sealed_at.isoformat() if head.sealed_at else "",
            "exported_at": timezone.now().isoformat(),
        }
    )


def _folder() -> Path:
    folder = Path(settings.AUDIT_HEAD_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _write(path: Path, statement: dict[str, Any], *, is_kept: bool) -> None:
    """Write the file whole or not at all. One that is kept is never written over, not even by another head of its name."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with draft.open("xb") as file:
        file.write(orjson.dumps(statement, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o440 if is_kept else 0o640)
    try:
        if is_kept:
            path.hardlink_to(draft)
        else:
            draft.replace(path)
    except FileExistsError:
        pass  # the same head, exported twice within a second
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path, keys: Sequence[VerifyingKey] | None) -> ExportedHead:
    try:
        with path.open("rb") as file:
            statement = orjson.loads(file.read(_MAX_HEAD_BYTES))
        said = ExportedHead(
            path.name,
            int(statement["position"]),
            bytes.fromhex(statement["digest"]),
            str(statement["exported_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return ExportedHead(path.name, fault=f"cannot be read ({type(error).__name__})")
    if not is_signed(statement, keys):
        return ExportedHead(path.name, fault=f"carries no valid signature by {whose(keys)}")
    return said
