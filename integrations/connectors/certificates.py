"""Client certificates: whether one can be used, and until when."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from django.utils import timezone


def check_certificate(certificate: str | None, key: str | None, ca: str | None) -> None:
    """Check PEM texts, as many as are given: each can be read, the key is the certificate's, nothing has expired.

    Raises ValueError that says which one is wrong, and never quotes it.
    """
    if certificate is not None:
        until = expiry_of(certificate)
        if until <= timezone.now():
            raise ValueError(f"the certificate expired on {until:%Y-%m-%d}: ask for a new one")
    if key is not None:
        _check_key(key, certificate)
    if ca:
        try:
            x509.load_pem_x509_certificates(ca.encode())
        except ValueError:
            raise ValueError("ca is no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def expiry_of(certificate: str) -> datetime.datetime:
    """Return when a certificate ends: with its chain, when the first of them does. Raises ValueError for none."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        raise ValueError("certificate is no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    return min(part.not_valid_after_utc for part in chain)


def _check_key(key: str, certificate: str | None) -> None:
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except TypeError:
        raise ValueError("key is protected by a password: enter it without") from None
    except Exception:  # noqa: BLE001 - whatever cryptography makes of it, it may quote the key
        raise ValueError("key is no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None
    if certificate is None:
        return
    theirs = x509.load_pem_x509_certificates(certificate.encode())[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != theirs.public_bytes(*form):
        raise ValueError("key does not belong to the certificate")
