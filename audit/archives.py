"""Archives: the oldest part of the trail as a file that proves itself, after which its rows may go.

An archive is JSON lines, compressed when its name ends in .gz: a header with the digest that the chain had before it, one
line for each event (its position, the time of its seal, its canonical array), and a signed end over every byte before it.
"""

from __future__ import annotations

import datetime
import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

import audit
from audit.encoding import encoded, microseconds, seal_digest
from audit.immutability import ARCHIVIST
from audit.models import AuditCheckpoint, AuditEvent, AuditSeal
from audit.signing import VerifyingKey, is_signed, signed, whose
from audit.verification import EVENT_AT, Fault, Link, TrailVerification, check_link, sealed_rows

_EVENT, _SEAL = AuditEvent._meta.db_table, AuditSeal._meta.db_table
REMOVED_AT_ONCE: Final = 5000
_MAX_LINE_BYTES: Final = 1024 * 1024
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class ArchiveRefused(Exception):
    """Nothing was archived, or a file is no archive; the text says why."""


@dataclass(frozen=True)
class Archive:
    """What an archiving did: which positions are in the file, and how many rows went."""

    path: Path
    first_position: int
    position: int
    removed: int


def archive_events(path: Path, *, before: datetime.datetime) -> Archive:
    """Write every event older than `before` into a new file, verify the file, and let the rows go.

    Only a whole beginning of the chain goes: up to the first event that is not that old. Raises ArchiveRefused when there
    is nothing so old, when the trail does not hold, or when the role at hand may not; then nothing has gone.
    """
    _demand_rights()
    removed = remove_archived()  # what an archiving that broke off has left
    start = AuditCheckpoint.objects.newest()
    last = _last_before(before)
    if last <= start.position:
        raise ArchiveRefused(
            f"There is no sealed event before {before:%Y-%m-%d %H:%M} that is not archived already."
        )
    try:
        _write(path, Link(start.position, start.digest), last)
    except FileExistsError:
        raise ArchiveRefused(f"{path} is there already: an archive is never written over.") from None
    except OSError as error:
        raise ArchiveRefused(f"{path} cannot be written: {error.strerror}.") from None
    found = verify_archive(path)
    if found.faults:
        raise ArchiveRefused(
            f"{path} does not hold as it was written: {found.faults[0].sentence} Nothing has gone."
        )
    _set_checkpoint(path, start.position + 1, found)
    return Archive(path, start.position + 1, last, removed + remove_archived())


def remove_archived() -> int:
    """Let the rows beneath the newest checkpoint go, some thousands in a transaction, and return how many events went."""
    archived_to = AuditCheckpoint.objects.newest().position
    removed = 0
    while (
        lowest := AuditSeal.objects.filter(position__lte=archived_to).order_by("position").first()
    ) is not None:
        upto = min(lowest.position + REMOVED_AT_ONCE - 1, archived_to)
        with as_archivist(), connection.cursor() as cursor:
            # The events first: it is by their seals that the database knows that they are archived.
            cursor.execute(
                f"DELETE FROM {_EVENT} WHERE id IN (SELECT event_id FROM {_SEAL} WHERE position <= %s)",
                [upto],
            )
            removed += cursor.rowcount
            cursor.execute(f"DELETE FROM {_SEAL} WHERE position <= %s", [upto])
    return removed


@contextmanager
def as_archivist() -> Iterator[None]:
    """One transaction with the rights of the archivist's role. SQLite has no roles: there the checkpoint alone decides.

    Raises ArchiveRefused when whoever is connected is no member of the role.
    """
    with transaction.atomic():
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            try:
                with transaction.atomic():
                    cursor.execute(f"SET LOCAL ROLE {ARCHIVIST}")
            except ProgrammingError:
                raise ArchiveRefused(
                    f"The database user at hand is no member of {ARCHIVIST}, whose right this is. See docs/operations.md, "
                    "Roles: the owner makes the role and grants it to whoever archives."
                ) from None
            yield
            cursor.execute("RESET ROLE")


def _demand_rights() -> None:
    """Raise ArchiveRefused where the archivist's role may not do its work here: before hours of writing, and not after."""
    with as_archivist(), connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            return
        cursor.execute(
            "SELECT bool_and(has_table_privilege(relation, privilege)) "
            "FROM (VALUES (%s, 'DELETE'), (%s, 'DELETE'), (%s, 'INSERT')) AS needed (relation, privilege)",
            [_EVENT, _SEAL, AuditCheckpoint._meta.db_table],
        )
        if not cursor.fetchone()[0]:
            raise ArchiveRefused(
                f"{ARCHIVIST} has no right to take archived rows away: the owner runs what audit_roles prints. "
                "See docs/operations.md, Roles."
            )


def verify_archive(path: Path, keys: Sequence[VerifyingKey] | None = None) -> TrailVerification:
    """Check an archive by itself: every line against the chain, and the end's signature over all of it, by one of `keys`
    (by default those of AUDIT_SIGNING_KEY).

    Raises ArchiveRefused when the file cannot be read as an archive at all.
    """
    found = TrailVerification()
    try:
        with _opened(path, "rb") as file:
            _check_lines(found, file, keys)
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ArchiveRefused(
            f"{path} is no archive of the audit trail, or a damaged one ({type(error).__name__})."
        ) from None
    return found


# --- writing ----------------------------------------------------------------------------------------------


def _last_before(before: datetime.datetime) -> int:
    """The last position of the beginning of the chain in which every event is older than `before`."""
    younger = AuditEvent.objects.filter(at__gte=before)
    first = (
        AuditSeal.objects.filter(event_id__in=younger.values("id"))
        .order_by("position")
        .values_list("position", flat=True)
        .first()
    )
    return int(first) - 1 if first is not None else AuditSeal.objects.head().position


def _write(path: Path, before: Link, last: int) -> None:
    """Write the archive, whole or not at all, checking each row on the way."""
    draft = path.with_name(f".{path.name}.part")
    if path.exists():
        raise FileExistsError
    draft.unlink(missing_ok=True)
    try:
        with _opened(draft, "xb") as file:
            digest = sha256()
            for line in chain(_lines(before, last), [None]):
                if line is None:
                    file.write(
                        orjson.dumps(signed({"end": 1, "lines_digest": digest.hexdigest()}), option=_SORTED)
                    )
                    break
                digest.update(line)
                file.write(line)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _lines(before: Link, last: int) -> Iterator[bytes]:
    header = {
        "matricula_audit_archive": 1,
        "first_position": before.position + 1,
        "position": last,
        "previous_digest": before.digest.hex(),
        "made_at": timezone.now().isoformat(),
    }
    yield orjson.dumps(header, option=_SORTED)
    link, found = before, TrailVerification()
    for row in sealed_rows(before.position):
        if row[0] > last:
            break
        link = check_link(found, link, row)
        if found.faults:
            raise ArchiveRefused(
                f"The trail does not hold, so that nothing is archived: {found.faults[0].sentence}"
            )
        event = orjson.loads(encoded(row[EVENT_AT:]))
        yield orjson.dumps(
            {"position": row[0], "sealed_us": microseconds(row[5]), "digest": row[4].hex(), "event": event},
            option=_SORTED,
        )
    if link.position != last:
        raise ArchiveRefused("The trail changed while it was archived. Nothing has gone: try again.")


def _set_checkpoint(path: Path, first: int, found: TrailVerification) -> None:
    checkpoint = AuditCheckpoint(
        position=found.position,
        digest=bytes.fromhex(found.digest),
        first_position=first,
        archive_name=path.name[:200],
        archive_digest=_file_digest(path),
        archived_at=timezone.now(),
        archived_by=audit.current_actor().name[:150],
    )
    said = signed(
        {name: value for name, value in checkpoint.statement().items() if name not in ("key", "signature")}
    )
    checkpoint.key, checkpoint.signature = said["key"], said["signature"]
    with as_archivist():
        checkpoint.save(force_insert=True)
        audit.record(
            "audit_trail.archived",
            checkpoint,
            detail={"first_position": first, "position": found.position, "file": path.name},
        )


def _file_digest(path: Path) -> bytes:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            digest.update(part)
    return digest.digest()


# --- reading ----------------------------------------------------------------------------------------------


def _opened(path: Path, mode: str) -> IO[bytes]:
    return cast(
        "IO[bytes]", gzip.open(path, mode, compresslevel=6) if ".gz" in path.suffixes else path.open(mode)
    )


def _check_lines(found: TrailVerification, file: IO[bytes], keys: Sequence[VerifyingKey] | None) -> None:
    line = file.readline(_MAX_LINE_BYTES)
    header: dict[str, Any] = orjson.loads(line)
    position, previous = header["first_position"] - 1, bytes.fromhex(header["previous_digest"])
    digest = sha256(line)
    while line := file.readline(_MAX_LINE_BYTES):
        said = orjson.loads(line)
        if "end" in said:
            end = _End(said, position, digest.hexdigest(), is_last=not file.read(1))
            _check_end(found, header, end, keys)
            break
        digest.update(line)
        position, previous = _check_line(found, said, position, previous)
    else:
        found.faults.append(Fault("archive_cut", "The archive has no signed end: it was cut off."))
    found.position, found.digest, found.fault_count = position, previous.hex(), len(found.faults)


def _check_line(
    found: TrailVerification, said: dict[str, Any], position: int, previous: bytes
) -> tuple[int, bytes]:
    event = said["event"]
    own = seal_digest(
        said["position"],
        event[1],
        said["sealed_us"],
        sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).digest(),
        previous,
    )
    found.sealed += 1
    if (said["position"], own.hex()) != (position + 1, said["digest"]) and not found.faults:
        sentence = f"Event {event[1]} at position {said['position']} is not what was sealed there, or does not follow the one before it."
        found.faults.append(Fault("archive_edited", sentence, event[1], said["position"]))
    return said["position"], bytes.fromhex(said["digest"])


@dataclass(frozen=True)
class _End:
    """The end of an archive: what it says, and the position, the digest and the end of file that were found there."""

    said: dict[str, Any]
    position: int
    digest: str
    is_last: bool


def _check_end(
    found: TrailVerification, header: dict[str, Any], end: _End, keys: Sequence[VerifyingKey] | None
) -> None:
    is_as_signed = end.said.get("lines_digest") == end.digest and header["position"] == end.position
    if not is_signed(end.said, keys):
        found.faults.append(
            Fault("archive_forged", f"The end of the archive carries no valid signature by {whose(keys)}.")
        )
    elif not (is_as_signed and end.is_last):
        found.faults.append(
            Fault("archive_edited", "The archive is not what was signed: lines were changed, added or cut.")
        )
