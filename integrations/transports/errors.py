"""What can go wrong outside, as one family: each says what happened and what a person can do about it."""

from __future__ import annotations


class TransportError(Exception):
    """An exchange with another system failed. `advice` says what to do; no secret is ever in either text."""

    advice = "Try again; if it stays, ask whoever runs the other system."

    def __init__(self, what: str, *, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice or self.advice


class Unreachable(TransportError):
    advice = "Check the connection's address, and whether the other system is up."


class TimedOut(TransportError):
    advice = "The other system is too slow at the moment. Try again later, or ask whoever runs it."


class TooLarge(TransportError):
    advice = "Ask for smaller pages (the connection's page size)."


class UnexpectedStatus(TransportError):
    """The other system answered with a status that means failure."""

    def __init__(self, status: int) -> None:
        self.status = status
        meaning, advice = _STATUS_IN_WORDS.get(status, ("", ""))
        if not meaning:
            meaning = "it failed" if status >= FIRST_SERVER_ERROR else "it did not accept the request"
        super().__init__(f"the other system answered {status}: {meaning}", advice=advice)


FIRST_SERVER_ERROR = 500
_STATUS_IN_WORDS = {
    301: ("the address has moved", "Enter the new address in the connection."),
    302: (
        "it sends us elsewhere, which is not followed",
        "Check the address; a login page often hides behind this.",
    ),
    307: ("it sends us elsewhere, which is not followed", "Check the connection's address."),
    308: ("the address has moved", "Enter the new address in the connection."),
    401: ("it does not accept our credentials", "Enter the connection's credentials again."),
    403: ("our credentials may not read this", "Ask the other system's owner to grant read access."),
    404: ("there is nothing at this path", "Check the path of the dataset in the connection."),
    429: ("we ask too often", "Wait, or ask its owner for a higher limit."),
}


class NotUnderstood(TransportError):
    """The answer came, but is not what the connection says it would be."""

    advice = "Compare the connection's settings with what the other system answers (Test shows it)."
