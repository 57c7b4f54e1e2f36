"""Whom we trust, and how we prove who we are: TLS 1.2 or later, 1.3 where the other system has it (RFC 9325)."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass, field
from functools import cache

import certifi

from integrations.transports.errors import NotSent
from integrations.transports.sockets import TlsSocket


@dataclass(frozen=True)
class TlsMaterial:
    """PEM texts: our certificate (with its chain) and its key, and the private authority that signed the other system's.

    Each may be empty: no client certificate then, or the public authorities. With `ca` only that authority is trusted.
    """

    certificate: str = ""
    key: str = field(default="", repr=False)
    ca: str = ""


def context_for(material: TlsMaterial | None) -> ssl.SSLContext:
    """Return a context that verifies the other side. Raises NotSent for texts that are no certificate or key."""
    return _context(material) if material else _public_context()


@cache
def _public_context() -> ssl.SSLContext:
    """Made once: reading the public authorities takes longer than many an exchange."""
    return _context(TlsMaterial())


def _context(material: TlsMaterial) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if material.ca:
            context.load_verify_locations(cadata=material.ca)
        else:
            context.load_verify_locations(cafile=certifi.where())
    except (ssl.SSLError, ValueError):
        raise _unreadable("the private authority's certificate") from None
    if material.certificate:
        _load_our_certificate(context, material)
    return context


def _load_our_certificate(context: ssl.SSLContext, material: TlsMaterial) -> None:
    """OpenSSL takes a certificate and key from a file only: one that nobody else may read, for this moment."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600
        file.write(f"{material.certificate}\n{material.key}\n")
        file.flush()
        try:
            # Without a password of its own, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(file.name, password=lambda: b"")
        except (ssl.SSLError, ValueError):
            raise _unreadable("our certificate or its key") from None


def _unreadable(what: str) -> NotSent:
    return NotSent(
        f"{what} cannot be used: it is no PEM text, or the key is encrypted or belongs to another certificate",
        advice="Enter certificate, key and authority of the connection again, as unencrypted PEM texts.",
    )
