"""A column that is readable only with a key that the database does not hold.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. A sealed value is

    version (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

The key id is the start of the key's SHA-256, so that a value says which key of the ring opens it. Table, column
and row are the associated data: a value copied into another row, or another column, does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_BYTES = 4


class SealBroken(Exception):
    """A sealed value does not open: the key is not in the ring, or the value is not this row's."""


def key_ring() -> list[bytes]:
    """The keys of CREDENTIAL_KEYS, newest first. Raises ImproperlyConfigured when one is no 32-byte key."""
    keys = []
    for position, text in enumerate(settings.CREDENTIAL_KEYS, start=1):
        try:
            key = base64.urlsafe_b64decode(text.strip())
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ImproperlyConfigured(
                f"Key {position} of CREDENTIAL_KEYS is not 32 bytes of URL-safe base64. Make one with: "
                'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
            )
        keys.append(key)
    return keys


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:KEY_ID_BYTES]


def key_ids() -> list[str]:
    """The ids of the keys of the ring, in hexadecimal: they name keys and tell nothing of them."""
    return [_key_id(key).hex() for key in key_ring()]


def seal(value: object, bound_to: str) -> bytes:
    """Encrypt a JSON value with the newest key, bound to the place named `bound_to`."""
    key = key_ring()[0]
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, orjson.dumps(value), bound_to.encode())
    return VERSION + _key_id(key) + nonce + sealed


def is_of_newest_key(sealed: bytes) -> bool:
    """Whether a sealed value was sealed with the key that seals now."""
    return sealed[:1] == VERSION and sealed[1 : 1 + KEY_ID_BYTES] == _key_id(key_ring()[0])


def unseal(sealed: bytes, bound_to: str) -> Any:
    """Return the JSON value that was sealed for the place `bound_to`. Raises SealBroken when it does not open."""
    key_id = sealed[1 : 1 + KEY_ID_BYTES]
    body = sealed[1 + KEY_ID_BYTES :]
    key = next((key for key in key_ring() if _key_id(key) == key_id), None)
    if sealed[:1] != VERSION or key is None:
        raise SealBroken(
            f"The secrets of {bound_to} were sealed with a key that CREDENTIAL_KEYS does not hold. Give the key "
            "back (it may stand behind a newer one, separated by a comma), or enter the secrets again."
        )
    try:
        return orjson.loads(AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], bound_to.encode()))
    except (InvalidTag, ValueError):  # the second for one that was cut before its nonce
        raise SealBroken(
            f"The secrets of {bound_to} do not open with their key: they were changed, or copied from another "
            "row. Enter them again."
        ) from None


class _SealedAttribute:
    """Seals what is assigned and opens what is read; the instance holds only the sealed bytes."""

    def __init__(self, field: SealedJSONField) -> None:
        self.field = field

    def __get__(self, instance: models.Model | None, owner: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        if self.field.attname not in instance.__dict__:
            instance.refresh_from_db(fields=[self.field.attname])
        sealed: bytes = instance.__dict__[self.field.attname]
        return unseal(sealed, self.field.place(instance)) if sealed else {}

    def __set__(self, instance: models.Model, value: object) -> None:
        if isinstance(value, bytes | memoryview | bytearray):
            sealed = bytes(value)
        else:
            sealed = seal(value, self.field.place(instance)) if value else b""
        instance.__dict__[self.field.attname] = sealed


class SealedJSONField(models.BinaryField[Any, Any]):
    """A JSON object kept sealed. `bound_to` names a unique field, assigned before this one, that names the row."""

    descriptor_class = _SealedAttribute

    def __init__(self, *args: Any, bound_to: str, **kwargs: Any) -> None:
        self.bound_to = bound_to
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "bound_to": self.bound_to}

    def place(self, instance: models.Model) -> str:
        """Name the table, column and row that the value belongs to."""
        return f"{self.model._meta.db_table}.{self.column}:{getattr(instance, self.bound_to)}"

    def pre_save(self, model_instance: models.Model, add: bool) -> bytes:
        sealed: bytes = model_instance.__dict__[self.attname]
        return sealed

    def value_to_string(self, obj: models.Model) -> str:
        """Fixtures and dumps carry the sealed form."""
        return base64.b64encode(obj.__dict__[self.attname]).decode()
