"""What may be kept of a URL or a body: nothing that a secret, a token or an address of a person stands in."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit, urlunsplit

from integrations.models import Connection

MASK: Final = "***"
# Parts of `auth` that say how a credential is sent, not what it is.
_NOT_SECRET: Final = frozenset({"in", "name", "scope", "token_url", "client_id", "client_auth"})
# Below this length a secret is masked where it stands alone only: "12" is in every number.
_SHORT: Final = 6
_TELLING: Final = re.compile(
    r"""
    (?P<key>"[^"]*(?:token|secret|passw|api_?key|authorization|ssn)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"   # JSON members
    | (?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]+
    | \beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*   # JSON Web Tokens
    | [A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+   # e-mail addresses
    | \b\d{3}-\d{2}-\d{4}\b                                 # social security numbers
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Mask:
    """Masks the secrets of one connection, and whatever looks like a secret or a person's address."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = [
            _written(secret) if len(secret) >= _SHORT else rf"(?<![^\W_]){_written(secret)}(?![^\W_])"
            for secret in sorted({secret for secret in secrets if secret.strip()}, key=len, reverse=True)
        ]
        self._secrets = re.compile("|".join(parts)) if parts else None

    @classmethod
    def of(cls, connection: Connection) -> Mask:
        """Raises SealBroken where the secrets do not open."""
        return cls(_secrets_of(connection.secrets))

    def text(self, text: str) -> str:
        """Return `text` without what may not be kept."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _TELLING.sub(_hidden, text)

    def url(self, url: str) -> str:
        """Return `url` with its path, and the names of its parameters without their values."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
        except ValueError:  # a port that is none
            return MASK
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        query = "&".join(f"{quote(self.text(name))}={MASK}" for name in names)
        return urlunsplit((parts.scheme, host, self.text(parts.path), query, ""))


def _secrets_of(secrets: Mapping[str, Any]) -> Iterator[str]:
    auth = dict(secrets.get("auth", {}))
    yield from _texts({name: value for name, value in auth.items() if name not in _NOT_SECRET})
    yield from _texts({name: value for name, value in secrets.items() if name != "auth"})
    if "username" in auth and "password" in auth:
        yield base64.b64encode(f"{auth['username']}:{auth['password']}".encode()).decode()
    if "client_id" in auth and "client_secret" in auth:  # encoded as RFC 6749 section 2.3.1 has it
        pair = f"{quote_plus(auth['client_id'])}:{quote_plus(auth['client_secret'])}"
        yield base64.b64encode(pair.encode()).decode()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _written(secret: str) -> str:
    """A pattern of a secret as it may be written: plainly, in a URL, in JSON, in HTML, or in one within another. Each
    character is written in its own way, because systems encode more or fewer of them."""
    return "".join(map(_character, secret))


def _character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    forms = [
        re.escape(character),
        f"(?i:{''.join(f'%{byte:02x}' for byte in character.encode('utf-8', 'surrogatepass'))})",
    ]
    forms += [re.escape(form) for form in (html.escape(character), f"&#{ord(character)};")]
    if character == " ":
        forms.append(r"\+")
    in_json = json.dumps(character)[1:-1]  # with one backslash, of which there are more in JSON within JSON
    if in_json.startswith("\\"):
        forms.append(r"\\+" + re.escape(in_json[1:]).replace(r"\\", r"\\+"))
    return rf"\\*(?:{'|'.join(dict.fromkeys(forms))})"


def _hidden(found: re.Match[str]) -> str:
    if found["key"]:
        return f'{found["key"]}"{MASK}"'
    return f"{found['scheme']}{MASK}" if found["scheme"] else MASK
