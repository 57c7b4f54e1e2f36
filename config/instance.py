"""The instance folder: where an installation without a server of its own keeps what it must remember.

Holds the SQLite database, the broker's socket, the keys, the mail written as files and the address that `up`
bound. Keys are made once, readable by their owner only, and never overwritten.
"""

import base64
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

# sockaddr_un.sun_path holds 108 bytes with its closing NUL on Linux (unix(7)), 104 on the BSDs.
MAX_SOCKET_PATH_BYTES = 100


def make_private_folder(folder: Path) -> Path:
    """Make the folder, readable by its owner only, and return it absolute."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.resolve()


def kept_key(folder: Path, name: str) -> str:
    """Return the key kept under `keys/name`, made from 32 random bytes (URL-safe base64) at the first call.

    Two processes that start at once agree: the file appears whole, by a link that the second one loses.
    """
    keys = make_private_folder(folder / "keys")
    path = keys / name
    if not path.exists():
        draft = keys / f".{name}.{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # the other process was first: its key is the key
        finally:
            draft.unlink()
    return path.read_text().strip()


def broker_socket(folder: Path) -> Path:
    """Return the path of the broker's Unix socket: in the instance folder, or, where that path is longer than
    a socket's may be, in a private folder of the system's temporary directory named after it."""
    path = folder / "broker.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return (
        make_private_folder(Path(tempfile.gettempdir()) / f"matricula-{os.getuid()}-{name}") / "broker.sock"
    )


def bound_address(folder: Path) -> str:
    """Return the address that `up` bound last, so that a link in a message leads there; a guess before that."""
    try:
        return (folder / "address").read_text().strip() or "http://127.0.0.1:8000"
    except FileNotFoundError:
        return "http://127.0.0.1:8000"


def simulated_hosts(folder: Path) -> list[str]:
    """Return host:port of each simulated system that `up --demo` of this folder has started, so that a command in
    another terminal reaches it too."""
    ports = [file.read_text().strip() for file in sorted(folder.glob("simulator-*.port"))]
    return [f"127.0.0.1:{port}" for port in ports if port.isdecimal()]
