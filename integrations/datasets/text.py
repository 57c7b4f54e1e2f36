"""Text of a canonical record: what another system's value must be to stand in ours."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BeforeValidator

_UNSTORABLE: Final = re.compile(r"[\x00-\x1f\ud800-\udfff]")


def _as_text(value: object) -> object:
    """Accept a whole number where a text is expected (many systems send ids so), refuse what would be lossy.

    A number with a fraction or beyond 64 bits has passed through a float somewhere: two ids could fall together.
    """
    if isinstance(value, bool | float):
        raise ValueError("is a number that is no exact identifier; the source should send a text")  # noqa: TRY004
    if isinstance(value, int):
        value = str(value)
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise ValueError("has a control character or broken Unicode in it")
    return value


AsText = BeforeValidator(_as_text)
