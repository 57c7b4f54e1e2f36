"""What can go wrong outside, as one family: each says what happened and what a person can do about it."""

from __future__ import annotations

from enum import StrEnum


class ErrorClass(StrEnum):
    """What a failure means for whoever asked. Connectors map their vendor's answers to these, and to nothing else."""

    RETRY = "retry"  # temporary: the same request may succeed in a while
    THROTTLE = "throttle"  # too many requests: the system is up, and wants fewer
    REFRESH_TOKEN = "refresh token"  # noqa: S105 - the token is no longer accepted; a new one may be
    EXISTS = "exists"  # what was to be made is there already
    BLOCKED = "blocked"  # the other system's rules forbid it until somebody there has settled something
    PERMANENT = "permanent"  # this very request will never be accepted
    CONFIG = "config"  # credentials, rights, address or paths of the connection have to be corrected


class TransportError(Exception):
    """An exchange with another system failed. `advice` says what to do; no secret is ever in either text.

    `error_class` is what it means; `is_repeatable` whether a pull may ask again at once; `retry_after` the seconds
    that the other system asked for, where it did; `reached_it` whether anything was tried outside at all.
    """

    advice = "Try again; if it stays, ask whoever runs the other system."
    error_class: ErrorClass = ErrorClass.CONFIG
    is_repeatable = False
    reached_it = True
    retry_after: float | None = None

    def __init__(self, what: str, *, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice or self.advice


class Unreachable(TransportError):
    advice = "Check the connection's address, and whether the other system is up."
    error_class = ErrorClass.RETRY
    is_repeatable = True


class TimedOut(TransportError):
    advice = "The other system is too slow at the moment. Try again later, or ask whoever runs it."
    error_class = ErrorClass.RETRY
    is_repeatable = True


class NotTrusted(Unreachable):
    """The other system, or we ourselves, could not be proven by certificate: the same tomorrow as today."""

    advice = "Its certificate is expired, self-signed or for another name: its owner has to renew it."
    is_repeatable = False


class TooLarge(TransportError):
    advice = "Ask for smaller pages (the connection's page size)."


class NotUnderstood(TransportError):
    """The answer came, but is not what the connection says it would be."""

    advice = "Compare the connection's settings with what the other system answers (Test shows it)."


class BrokenOff(NotUnderstood):
    """The answer ended before its end, or was never HTTP."""

    error_class = ErrorClass.RETRY
    is_repeatable = True


class NotSent(TransportError):
    """The request never left: nothing is known of the other system."""

    reached_it = False


class NotAdmitted(NotSent):
    """No attempt may be made at the moment: the circuit breaker is open, or a limit is used up."""

    error_class = ErrorClass.RETRY


class Refused(TransportError):
    """The other system answered, and the answer is a failure.

    `status` is its HTTP status (one of success, where the failure stands in the body), `code` the vendor's own code.
    """

    def __init__(
        self, what: str, *, error_class: ErrorClass, status: int, code: str = "", advice: str = ""
    ) -> None:
        super().__init__(what, advice=advice)
        self.error_class, self.status, self.code = error_class, status, code


class UnexpectedStatus(Refused):
    """The other system answered with a status that means failure."""


class ErrorInBody(Refused):
    """The other system answered with a status of success and an error in the body."""
