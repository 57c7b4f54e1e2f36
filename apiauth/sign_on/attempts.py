"""How often passwords and codes may be tried.

An attempt is counted before the password is looked at and taken back when it was right, so that of any number at once no more
are looked at than may be. Whoever waits does not wait longer for asking again, and the right password waits like a wrong one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest

import audit
from apiauth import sliding_windows
from apiauth.counters import key
from apiauth.models import User
from apiauth.networks import source_of
from apiauth.sign_on.browsers import browser_of
from apiauth.sliding_windows import Window
from audit.address import client_address

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400

# What is counted, how many may fail, and within how many seconds. NIST SP 800-63B (5.2.2) allows 100 failures of an account.
OF_NAME_AT_ADDRESS: Final = (5, 10 * _MINUTE)
OF_ADDRESS: Final = (50, 10 * _MINUTE)  # a whole office may have one
OF_NAME: Final = (100, _HOUR)
OF_KNOWN_BROWSER: Final = (10, 10 * _MINUTE)
OF_SECOND_STEP: Final = (5, 10 * _MINUTE)
OF_SECOND_STEP_IN_A_DAY: Final = (30, _DAY)


@dataclass(frozen=True)
class Attempt:
    """An attempt that was counted. `wait_seconds` is 0 for one that may be looked at."""

    windows: Sequence[Window]
    name: str
    wait_seconds: int

    def take_back(self) -> None:
        """It was right: it counts no more."""
        sliding_windows.take_back(self.windows, self.name)

    def refusal(self, account: User | None) -> str:
        """How long to wait, in words, and on the trail; empty for an attempt that may be looked at."""
        if not self.wait_seconds:
            return ""
        audit.record_or_count(
            "user.sign_in_throttled",
            account or User(),
            detail={"account": "known" if account else "unknown"},
        )
        return (
            f"Too many attempts were wrong. Try again in {wait_in_words(self.wait_seconds)}; asking sooner does not make it "
            "longer. A browser that you have signed on with before is not held up by what others try. If you have "
            "forgotten your password, an administrator can set a new one."
        )


def begin_password(request: HttpRequest, username: str, account: User | None) -> Attempt:
    """Count an attempt at a password.

    A browser that the account was signed on with before counts for itself: strangers who fail under the name, or from the same
    address, do not keep its person out.
    """
    browser = browser_of(request)
    if account is not None and browser is not None and account.pk in browser.accounts:
        return _begin([Window(key("sign-on", "browser", account.pk, browser.name), *OF_KNOWN_BROWSER)])
    name = hashlib.sha256(username.encode(errors="replace")).hexdigest()[:32]
    source = source_of(client_address(request.META))
    return _begin(
        [
            Window(key("sign-on", name, source), *OF_NAME_AT_ADDRESS),
            Window(key("sign-on", "address", source), *OF_ADDRESS),
            Window(key("sign-on", "name", name), *OF_NAME),
        ]
    )


def begin_second_step(account: User) -> Attempt:
    """Count an attempt at a code. By account alone: only who knows the password comes this far."""
    name = key("second-step", account.pk)
    return _begin(
        [Window(f"{name}:minutes", *OF_SECOND_STEP), Window(f"{name}:day", *OF_SECOND_STEP_IN_A_DAY)]
    )


def _begin(windows: Sequence[Window]) -> Attempt:
    name = secrets.token_hex(8)
    attempt = Attempt(windows, name, sliding_windows.count(windows, name))
    if attempt.wait_seconds:
        attempt.take_back()
    return attempt


def wait_in_words(seconds: int) -> str:
    """How long to wait, such as "3 minutes"."""
    if seconds < _MINUTE:
        return "less than a minute"
    minutes = -(-seconds // _MINUTE)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
