"""What is sent: the bytes that the database wrote, with a name for their state and, where it is wanted, compressed."""

from __future__ import annotations

import re
import zlib
from typing import Final

import xxhash
from django.http import HttpResponse, HttpResponseNotModified
from rest_framework.request import Request

from apiauth.rendering import escaped

# Below it, what compressing saves is less than what it costs.
MIN_GZIP_BYTES: Final = 1_000
# A page of sections is a sixth of its size at any level, and level 1 takes a third of the time of level 6.
GZIP_LEVEL: Final = 1
_GZIP_FORMAT: Final = 31  # zlib's way of saying: the gzip container (RFC 1952), largest window
_ETAG: Final = re.compile(r'(?:W/)?"[^"]*"|\*')


def answer(request: Request, json: bytes) -> HttpResponse:
    """200 with JSON, or 304 where the caller has it already."""
    return answer_with(request, escaped(json), content_type="application/json")


def answer_with(request: Request, body: bytes, *, content_type: str) -> HttpResponse:
    """The same with a body of any kind, as it is.

    What one partner may see is nobody else's, and may change at any moment: caches keep it for that partner alone, and ask
    before they use it again. The ETag is weak because compressed and plain have the same one (RFC 9110, 8.8.3).
    """
    etag = f'W/"{xxhash.xxh3_128_hexdigest(body)}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Accept-Encoding, Authorization",
    }
    if _has_already(request.headers.get("If-None-Match", ""), etag):
        return HttpResponseNotModified(headers=headers)  # without a Content-Type: there is no content
    if len(body) >= MIN_GZIP_BYTES and takes_gzip(request.headers.get("Accept-Encoding", "")):
        body = _compressed(body)
        headers["Content-Encoding"] = "gzip"
    response = HttpResponse(body, content_type=content_type, headers=headers)
    response.headers["Content-Length"] = str(len(body))
    return response


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip, or everything, and not with a quality of nothing (RFC 9110, 12.5.3)."""
    qualities: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        coding, _, quality = part.partition(";")
        qualities[coding.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", quality)
    return qualities.get("gzip", qualities.get("*", False))


def _has_already(if_none_match: str, etag: str) -> bool:
    """Compared weakly, as If-None-Match is (RFC 9110, 13.1.2)."""
    named = _ETAG.findall(if_none_match)
    return "*" in named or etag.removeprefix("W/") in {each.removeprefix("W/") for each in named}


def _compressed(body: bytes) -> bytes:
    return zlib.compress(body, GZIP_LEVEL, _GZIP_FORMAT)
