"""Signatures of ours: Ed25519 (RFC 8032) over the canonical JSON of what is said.

The keys are those of AUDIT_SIGNING_KEY, newest first: the first signs, all of them verify. They are where the database's
owner does not reach: the environment, or in embedded mode the keys folder of the instance.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SEED_BYTES: Final = 32
KEY_ID_CHARACTERS: Final = 16


@dataclass(frozen=True)
class VerifyingKey:
    """A public key, and the id by which a signature names it."""

    id: str
    public: bytes

    @property
    def text(self) -> str:
        """The key as it is handed to an auditor: URL-safe base64 of its 32 bytes."""
        return base64.urlsafe_b64encode(self.public).decode()


def signed(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement with `key` and `signature` beside what it says."""
    private = _private_keys()[0]
    said = {**statement, "key": _key_of(private.public_key()).id}
    return {**said, "signature": base64.b64encode(private.sign(_bytes_of(said))).decode()}


def is_signed(statement: Mapping[str, Any], keys: Sequence[VerifyingKey] | None = None) -> bool:
    """Whether the statement carries a signature by one of `keys` (by default ours) over all that it says."""
    trusted = verifying_keys() if keys is None else keys
    public = {key.id: key.public for key in trusted}.get(str(statement.get("key", "")))
    if public is None:
        return False
    said = {name: value for name, value in statement.items() if name != "signature"}
    try:
        signature = base64.b64decode(str(statement.get("signature", "")), validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _bytes_of(said))
    except (InvalidSignature, ValueError, TypeError):  # ValueError: of base64
        return False
    return True


def verifying_keys() -> list[VerifyingKey]:
    """The public keys, newest first. Raises ImproperlyConfigured when one that is set is none."""
    return [_key_of(private.public_key()) for private in _private_keys()]


def whose(keys: Sequence[VerifyingKey] | None) -> str:
    """Whose signature is asked for, in words."""
    return "a key of AUDIT_SIGNING_KEY" if keys is None else "the public key that was given"


def verifying_key(text: str) -> VerifyingKey:
    """The public key that `seal_audit` printed as `text`. Raises ValueError for what is none."""
    try:
        raw = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
        return _key_of(Ed25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is no public key: seal_audit prints it, 32 bytes in URL-safe base64."
        ) from None


def _bytes_of(said: Mapping[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _key_of(public: Ed25519PublicKey) -> VerifyingKey:
    raw = public.public_bytes_raw()
    return VerifyingKey(sha256(raw).hexdigest()[:KEY_ID_CHARACTERS], raw)


def _private_keys() -> list[Ed25519PrivateKey]:
    given = tuple(filter(None, (text.strip() for text in settings.AUDIT_SIGNING_KEY)))
    return _from_seeds(given) if given else [_from_secret_key(settings.SECRET_KEY)]


@lru_cache(maxsize=4)
def _from_seeds(texts: tuple[str, ...]) -> list[Ed25519PrivateKey]:
    keys = []
    for place, text in enumerate(texts, start=1):
        try:
            seed = base64.urlsafe_b64decode(text)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != SEED_BYTES:
            raise ImproperlyConfigured(
                f"Key {place} of AUDIT_SIGNING_KEY is not {SEED_BYTES} bytes in URL-safe base64. Make one with: "
                "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            )
        keys.append(Ed25519PrivateKey.from_private_bytes(seed))
    return keys


@lru_cache(maxsize=4)
def _from_secret_key(secret: str) -> Ed25519PrivateKey:
    """The key of an installation that was given none: derived (RFC 5869), so that its machines agree on it."""
    derivation = HKDF(SHA256(), SEED_BYTES, salt=None, info=b"matricula audit signing key 1")
    return Ed25519PrivateKey.from_private_bytes(derivation.derive(secret.encode()))
