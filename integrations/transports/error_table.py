"""What an answer means, as facts: rows of status, code or text, and the class that they stand for.

A connector declares its vendor's rows (`Connector.errors`); where none of them fits, the status decides (RFC 9110
section 15). The vendor's own words are matched and never quoted: they may name a student. They are in the request log,
for those who may read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import jmespath
import orjson
from jmespath.parser import ParsedResult

from integrations.transports.errors import ErrorClass, ErrorInBody, Refused, UnexpectedStatus

FIRST_STATUS_AFTER_SUCCESS: Final = 300
FIRST_SERVER_ERROR: Final = 500
# What a pull may ask again for, by status alone. A row of a connector's own is a fact about its vendor and may as well.
REPEATABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REPEATABLE_CLASSES: Final = frozenset({ErrorClass.RETRY, ErrorClass.THROTTLE})
_TEXT_BYTES: Final = 1 << 16
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,60}")


@dataclass(frozen=True)
class Rule:
    """One row: an answer in which every named part is found means `means`.

    `code` is sought at the table's `codes`, `text` anywhere in the body whatever its case, and `where` is a JMESPath
    that has to be true of it. `words` say what happened and `advice` what to do; both are ours, not the vendor's.
    """

    means: ErrorClass
    status: int | None = None
    code: str = ""
    text: str = ""
    where: str = ""
    words: str = ""
    advice: str = ""

    def fits(self, answer: FailedAnswer) -> bool:
        return (
            (self.status is None or self.status == answer.status)
            and (not self.code or self.code in answer.codes)
            and (not self.text or self.text.casefold() in answer.text)
            and (not self.where or answer.holds(self.where))
        )


@dataclass(frozen=True)
class FailedAnswer:
    """An answer as the rows see it: its status, its codes, its text, and its JSON value where it is JSON."""

    status: int
    codes: tuple[str, ...]
    text: str
    value: Any

    def holds(self, expression: str) -> bool:
        return is_true(expression, self.value)


@dataclass(frozen=True)
class ErrorTable:
    """The errors of one vendor. `codes` are the JMESPaths at which its codes stand; `in_success` is a JMESPath that is
    true of a body that carries an error though the status says success."""

    rules: tuple[Rule, ...] = ()
    codes: tuple[str, ...] = ()
    in_success: str = ""

    def error_in(self, status: int, body: bytes) -> Refused | None:
        """Return what is wrong with an answer, or None where nothing is."""
        is_failure = status >= FIRST_STATUS_AFTER_SUCCESS
        if not is_failure and not self.in_success:
            return None
        value = _decoded(body)
        if not is_failure and not is_true(self.in_success, value):
            return None
        answer = FailedAnswer(status, tuple(self._codes_in(value)), _text_of(body), value)
        return self._error_of(answer, UnexpectedStatus if is_failure else ErrorInBody)

    def _codes_in(self, value: Any) -> Iterator[str]:
        for path in self.codes:
            found = _compiled(path).search(value)  # a path has no functions
            for code in found if isinstance(found, list) else [found]:
                if isinstance(code, str | int) and not isinstance(code, bool):
                    yield str(code)

    def _error_of(self, answer: FailedAnswer, kind: type[Refused]) -> Refused:
        rule = next((rule for rule in self.rules if rule.fits(answer)), None)
        default = by_status(answer.status)
        means = rule.means if rule else default.means
        code = rule.code if rule and rule.code else next(iter(answer.codes), "")
        error = kind(
            _in_words(answer.status, code, (rule and rule.words) or default.words),
            error_class=means,
            status=answer.status,
            code=code,
            advice=(rule and rule.advice) or default.advice,
        )
        error.is_repeatable = means in _REPEATABLE_CLASSES and (
            rule is not None or answer.status in REPEATABLE_STATUSES
        )
        return error


def _in_words(status: int, code: str, words: str) -> str:
    """The code is quoted only if it looks like one: in its place may stand anything."""
    said = f"{status} ({code})" if _CODE.fullmatch(code) else str(status)
    return f"the other system answered {said}: {words}"


# What a status means where no row of the vendor says otherwise.
_BY_STATUS: Final[dict[int, Rule]] = {
    rule.status: rule
    for rule in (
        Rule(ErrorClass.CONFIG, 301, words="the address has moved", advice="Enter the new address in the connection."),
        Rule(ErrorClass.CONFIG, 302, words="it sends us elsewhere, which is not followed", advice="Check the address; a login page often hides behind this."),
        Rule(ErrorClass.CONFIG, 307, words="it sends us elsewhere, which is not followed", advice="Check the connection's address."),
        Rule(ErrorClass.CONFIG, 308, words="the address has moved", advice="Enter the new address in the connection."),
        Rule(ErrorClass.REFRESH_TOKEN, 401, words="it does not accept our credentials", advice="Enter the connection's credentials again."),
        Rule(ErrorClass.CONFIG, 403, words="our credentials may not read this", advice="Ask the other system's owner to grant read access."),
        Rule(ErrorClass.CONFIG, 404, words="there is nothing at this path", advice="Check the path of the dataset in the connection."),
        Rule(ErrorClass.CONFIG, 405, words="it cannot be asked like this", advice="Check the path of the dataset in the connection."),
        Rule(ErrorClass.CONFIG, 406, words="it does not answer in JSON", advice="Check the headers of the connection."),
        Rule(ErrorClass.CONFIG, 407, words="a proxy on the way wants credentials", advice="Whoever runs Matricula corrects EGRESS_PROXY."),
        Rule(ErrorClass.RETRY, 408, words="our request took too long to arrive"),
        Rule(ErrorClass.RETRY, 425, words="it was not ready for our request"),
        Rule(ErrorClass.THROTTLE, 429, words="we ask too often", advice="Wait, or ask its owner for a higher limit."),
        Rule(ErrorClass.PERMANENT, 501, words="it cannot do this", advice="Ask whoever runs the other system."),
        Rule(ErrorClass.PERMANENT, 505, words="it does not speak our HTTP", advice="Ask whoever runs the other system."),
        Rule(ErrorClass.RETRY, 503, words="it is down or overloaded"),
    )
    if rule.status is not None
}  # fmt: skip
_ELSEWHERE: Final = Rule(
    ErrorClass.CONFIG, words="it did not accept the request", advice="Check the connection's address."
)
_REJECTED: Final = Rule(ErrorClass.PERMANENT, words="it did not accept the request")
_FAILED: Final = Rule(ErrorClass.RETRY, words="it failed")
_ERROR_IN_SUCCESS: Final = Rule(ErrorClass.PERMANENT, words="its answer carries an error")


def by_status(status: int) -> Rule:
    """Return what a status means by itself."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= FIRST_SERVER_ERROR:
        return _FAILED
    if status < FIRST_STATUS_AFTER_SUCCESS:
        return _ERROR_IN_SUCCESS
    return _REJECTED if status >= 400 else _ELSEWHERE  # noqa: PLR2004 - the first status of a client's error


# What several vendors do, and no feed does that means well: say in the body that it failed, and 200 in the head.
USUAL_ERRORS: Final = ErrorTable(
    in_success="success == `false` || ok == `false` || hasError == `true` || errorsExist == `true`"
)


def is_true(expression: str, value: Any) -> bool:
    """Whether a JMESPath holds of a value: empty texts, lists and objects, null and false do not; any number does."""
    try:
        found = _compiled(expression).search(value)
    except jmespath.exceptions.JMESPathError:  # a function that was given what it does not take
        return False
    return bool(found) or (isinstance(found, int | float) and not isinstance(found, bool))


@cache
def _compiled(expression: str) -> ParsedResult:
    return jmespath.compile(expression)


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _text_of(body: bytes) -> str:
    return body[:_TEXT_BYTES].decode("utf-8", "replace").casefold()
