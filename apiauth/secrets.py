"""Secrets and tokens: made of 256 random bits, kept as digests.

A password hash is slow because people choose passwords that can be guessed. Nobody guesses 2**256 values, at any speed: a
slow hash would buy nothing and cost 440 ms of CPU at each request for a token. OWASP's Password Storage and NIST SP 800-63B
(5.1.1.2, 5.1.2.2) ask for slow hashes of what people memorise; for look-up secrets of 112 bits or more NIST asks for an
approved one-way function alone. RFC 6749 (10.10) asks that the chance of guessing a credential be at most 2**-128.

The salt keeps two consumers that were given the same secret from showing it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any, Final

from django.contrib.auth.hashers import BasePasswordHasher
from oauth2_provider.generators import BaseHashGenerator

ALGORITHM: Final = "random_secret_sha256"
SECRET_BYTES: Final = 32
CLIENT_ID_BYTES: Final = 12
# What a secret is compared with when nobody is known by the client id, so that both take the same time.
_NOBODY: Final = f"{ALGORITHM}$none$" + "0" * 64


class RandomSecretHasher(BasePasswordHasher):
    """Salted SHA-256, for random secrets. Never the first of PASSWORD_HASHERS: passwords of people get a slow one."""

    algorithm = ALGORITHM

    def encode(self, password: str, salt: str) -> str:
        return f"{ALGORITHM}${salt}${hashlib.sha256(f'{salt}{password}'.encode()).hexdigest()}"

    def decode(self, encoded: str) -> dict[str, Any]:
        algorithm, salt, digest = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": digest}

    def verify(self, password: str, encoded: str) -> bool:
        return secret_matches(password, encoded)

    def safe_summary(self, encoded: str) -> Any:
        return {"algorithm": ALGORITHM}

    def must_update(self, encoded: str) -> bool:
        return False

    def harden_runtime(self, password: str, encoded: str) -> None:
        """There is no work factor to make up for."""


class ClientSecretGenerator(BaseHashGenerator):  # type: ignore[misc]
    """What django-oauth-toolkit calls for a consumer that was given no secret."""

    def hash(self) -> str:
        return make_secret()


class ClientIdGenerator(BaseHashGenerator):  # type: ignore[misc]
    """Client ids: short enough to be read out, no colon, which would end them in HTTP Basic (RFC 7617, 2)."""

    def hash(self) -> str:
        return secrets.token_hex(CLIENT_ID_BYTES)


def make_secret(request: object = None) -> str:
    """A secret or a token that nobody guesses, in characters that need no escaping anywhere."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    hasher = RandomSecretHasher()
    return hasher.encode(secret, hasher.salt())


def secret_matches(secret: str, encoded: str) -> bool:
    """Whether `encoded` is the digest of `secret`, in a time that does not depend on how much of it is right. An empty
    `encoded` stands for nobody: it is never matched, and takes as long."""
    _, salt, digest = (encoded or _NOBODY).split("$", 2)
    offered = hashlib.sha256(f"{salt}{secret}".encode(errors="surrogatepass")).hexdigest()
    return hmac.compare_digest(offered, digest)


def token_digest(token: str) -> str:
    """What is kept of a token, and what it is found by: 256 random bits need no salt, and a salted digest could not be
    looked up."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
