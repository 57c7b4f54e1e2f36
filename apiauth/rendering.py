"""JSON as the API sends it: UTF-8, and safe for what shows it.

A name or a title is text that somebody typed. Inside JSON it is data; but an answer that is pasted into a page, or that a
browser takes for one, would run what stands in it. `<`, `>` and `&` stand only inside strings there, and are sent as escapes
that every parser undoes: what reads the JSON sees no difference, and what takes it for HTML finds no tag (OWASP's XSS
Prevention, rule 3.1, has it so). U+2028 and U+2029 end a line in older JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import orjson
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

_ESCAPES: Final = (
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    (b"&", rb"\u0026"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)


class JsonRenderer(BaseRenderer):
    """What the REST framework renders answers with."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The bytes of a value; None, the answer without content, is no bytes."""
        return b"" if data is None else json_bytes(data)


def json_bytes(value: Any) -> bytes:
    """A value as JSON that is safe for what shows it. Decimals are strings, so that no digit is lost; instants end in Z."""
    return escaped(orjson.dumps(value, default=_text, option=orjson.OPT_UTC_Z))


def escaped(json: bytes) -> bytes:
    """JSON that is JSON already, made safe for what shows it."""
    for byte, escape in _ESCAPES:
        json = json.replace(byte, escape)
    return json


def _text(value: Any) -> str:
    """What orjson has no form for. Raises TypeError for what is no value of an answer."""
    if isinstance(value, (Decimal, Promise)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON.")
