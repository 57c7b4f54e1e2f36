"""Why a record cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejection:
    """Why a record cannot be used: the rule that it breaks, the field, and a reason that a registrar understands.

    `value` is what stands in the way, where somebody can say here what it means: a code, never a person's data.
    """

    rule: str
    reason: str
    field: str = ""
    value: str = ""


class Rejected(Exception):
    """Raised while a record is mapped or validated; carries the Rejection."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason)
        self.rejection = rejection
