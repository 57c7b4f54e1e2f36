"""A private certificate authority for tests, and a TLS server that uses it."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integrations.feed import may_reach, read_request

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM texts."""

    certificate: str
    key: str


class Authority:
    """Signs certificates that only those who know it trust."""

    def __init__(self, name: str = "University authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        built = _builder(self._name, self._name, self._key.public_key(), DAY)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = _pem(built.sign(self._key, hashes.SHA256()))

    def issue(self, host: str, *, valid: datetime.timedelta = DAY) -> Identity:
        """Sign a certificate for a host; with a negative validity, one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        built = _builder(name, self._name, key.public_key(), valid)
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return Identity(_pem(built.sign(self._key, hashes.SHA256())), _key_text(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(now + valid)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def server_context(identity: Identity, folder: Path, *, client_authority: str = "") -> ssl.SSLContext:
    """A server's side of TLS; with an authority, it asks for a certificate that this has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "server.pem"
    file.write_text(identity.certificate + identity.key)
    context.load_cert_chain(file)
    if client_authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_authority)
    return context


@contextmanager
def tls_wire(
    context: ssl.SSLContext, answer: Callable[[ssl.SSLSocket, threading.Event], None]
) -> Iterator[str]:
    """As `wire`, through TLS, under the name of localhost."""
    is_over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), caller, context.wrap_socket(caller, server_side=True) as wrapped:
                read_request(wrapped)
                answer(wrapped, is_over)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    try:
        with may_reach(f"localhost:{port}"):
            yield f"https://localhost:{port}/"
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
