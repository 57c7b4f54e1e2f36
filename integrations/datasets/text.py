"""Text of a canonical record: what another system's value must be to stand in ours."""

from __future__ import annotations

from pydantic import BeforeValidator


def _as_text(value: object) -> object:
    """Accept a whole number where a text is expected (many systems send ids so), refuse what would be lossy.

    A number with a fraction or beyond 64 bits has passed through a float somewhere: two ids could fall together.
    """
    if isinstance(value, bool | float):
        raise ValueError("is a number that is no exact identifier; the source should send a text")  # noqa: TRY004
    if isinstance(value, int):
        value = str(value)
    if isinstance(value, str) and any(
        character < " " or "\ud800" <= character <= "\udfff" for character in value
    ):
        raise ValueError("has a control character or broken Unicode in it")
    return value


AsText = BeforeValidator(_as_text)
