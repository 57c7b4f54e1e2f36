"""What goes, and when: told in the headers of every answer that still has it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.utils.http import http_date

# Where a partner reads what to do instead.
POLICY: Final = "/api/v1/docs/"


@dataclass(frozen=True)
class Deprecation:
    """Something that is deprecated since one instant and gone from another one on."""

    since_at: datetime.datetime
    gone_at: datetime.datetime


def headers_of(deprecations: Iterable[Deprecation]) -> dict[str, str]:
    """The headers of an answer that has these: `Deprecation` (RFC 9745) with the first, `Sunset` (RFC 8594) with the first to
    go, and where to read on. None where nothing is deprecated."""
    known = list(deprecations)
    if not known:
        return {}
    since, gone = min(each.since_at for each in known), min(each.gone_at for each in known)
    return {
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": http_date(gone.timestamp()),
        "Link": f'<{POLICY}>; rel="deprecation"; type="text/html"',
    }
