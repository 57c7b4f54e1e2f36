"""What a system says of how much it may still be asked, in the headers of its answers.

There is a draft of a standard (draft-ietf-httpapi-ratelimit-headers), an older form of it, and what most vendors send.
A connector names its vendor's headers where they are others (`Connector.quota`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.utils import timezone

from integrations.transports.messages import Attempt

# A number above this is a moment in seconds since 1970; below, seconds from now.
_FIRST_MOMENT: Final = 1_000_000_000
# Nobody is left alone for longer than this on the word of a header.
LONGEST_PAUSE: Final = datetime.timedelta(hours=24)
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_MEMBER: Final = re.compile(r"\b(r|t|remaining|reset)\s*=\s*([0-9]{1,12})\b")


@dataclass(frozen=True)
class QuotaHeaders:
    """Where a vendor says how many calls are left, and when there are more. At `floor` we stop asking."""

    remaining: tuple[str, ...] = ("X-RateLimit-Remaining", "RateLimit-Remaining", "X-Rate-Limit-Remaining")
    reset: tuple[str, ...] = ("X-RateLimit-Reset", "RateLimit-Reset", "X-Rate-Limit-Reset")
    floor: int = 0

    def pause_until(self, headers: Mapping[str, str]) -> datetime.datetime | None:
        """Until when an answer asks to be left alone; None where it does not, or does not say until when."""
        stated = dict(_MEMBER.findall(headers.get("RateLimit", "")))
        remaining = _first_number(headers, self.remaining, stated.get("r", stated.get("remaining")))
        reset = _first_number(headers, self.reset, stated.get("t", stated.get("reset")))
        if remaining is None or reset is None or remaining > self.floor:
            return None
        return _moment(reset)


USUAL_QUOTA: Final = QuotaHeaders()


def pause_after(attempt: Attempt, quota: QuotaHeaders) -> datetime.datetime | None:
    """Until when an attempt's answer asks everybody to wait: by Retry-After, or by a quota that is used up."""
    if attempt.error is not None and attempt.error.retry_after is not None:
        return timezone.now() + min(datetime.timedelta(seconds=attempt.error.retry_after), LONGEST_PAUSE)
    return quota.pause_until(attempt.response.headers) if attempt.response else None


def _first_number(headers: Mapping[str, str], names: Iterable[str], stated: str | None) -> int | None:
    texts = [*(headers.get(name, "").strip() for name in names), stated or ""]
    return next((int(text) for text in texts if _NUMBER.fullmatch(text)), None)


def _moment(reset: int) -> datetime.datetime | None:
    now = timezone.now()
    seconds = reset - now.timestamp() if reset > _FIRST_MOMENT else float(reset)
    return now + min(datetime.timedelta(seconds=seconds), LONGEST_PAUSE) if seconds > 0 else None
