"""A new key for the secrets at rest: every sealed value is sealed anew with the newest key, while the system runs.

Each row is a small transaction of its own under its lock, so nobody waits for more than one row, and a rotation that was
broken off goes on where it ended: what is sealed with the newest key already is only looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from django.apps import apps
from django.db import models, transaction

import audit
from apiauth.sealed import SealBroken, SealedJSONField, is_of_newest_key, key_ring, seal, unseal
from integrations.models import Connection

# A process that still has the older list of keys may seal with the older key meanwhile: whatever a look has changed is
# looked at again, but not for ever.
MOST_LOOKS: Final = 5


@dataclass(frozen=True)
class Unreadable:
    """A sealed value that no key of the ring opens: where it is, and why, without what is in it."""

    table: str
    column: str
    id: int
    name: str
    reason: str


@dataclass
class Rotation:
    """What came of a rotation: how many values were sealed anew, how many were already, and which do not open."""

    rotated: int = 0
    current: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def rotate_credentials() -> Rotation:
    """Seal every value with the newest key. Raises ImproperlyConfigured for a ring that is none."""
    key_ring()
    rotated = 0
    for _ in range(MOST_LOOKS):
        look = _look_at_all()
        rotated += look.rotated
        if not look.rotated:
            break
    return Rotation(rotated, look.current + look.rotated - rotated, look.unreadable)


def _look_at_all() -> Rotation:
    look = Rotation()
    for column in _sealed_columns():
        rows = column.model._default_manager.exclude(**{column.name: b""}).order_by("pk")
        for pk in list(rows.values_list("pk", flat=True)):
            _look_at(column, pk, look)
    return look


def _sealed_columns() -> Iterator[SealedJSONField]:
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, SealedJSONField):
                yield column


@transaction.atomic
def _look_at(column: SealedJSONField, pk: int, look: Rotation) -> None:
    rows = column.model._default_manager.filter(pk=pk)
    row = rows.select_for_update().first()
    sealed: bytes = row.__dict__[column.attname] if row is not None else b""
    if row is None or not sealed:
        return  # deleted or emptied meanwhile
    place = column.place(row)
    try:
        value = unseal(sealed, place)
    except SealBroken as error:
        look.unreadable.append(
            Unreadable(column.model._meta.db_table, str(column.column), pk, str(row), str(error))
        )
        return
    if is_of_newest_key(sealed):
        look.current += 1
        return
    # The column alone: whatever else of the row is written at this moment is not ours.
    rows.update(**{column.name: seal(value, place)})
    audit.record("connection.secrets_resealed", _connection_of(row), detail={"column": column.column})
    look.rotated += 1


def _connection_of(row: models.Model) -> models.Model:
    """The connection that a sealed value belongs to, or its row where it belongs to none."""
    connection = getattr(row, "connection", row)
    return connection if isinstance(connection, Connection) else row
