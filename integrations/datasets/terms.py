"""Which term of ours another system means: by the term codes that administrators keep, or because it uses our own."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from integrations.datasets.rejection import Rejected, Rejection
from integrations.models import Connection, TermCode
from registration.models import Term


@dataclass(frozen=True)
class Meaning:
    """What a code means on which days. `code` is empty for any code that is not known otherwise."""

    code: str
    from_on: datetime.date
    through_on: datetime.date
    term: str

    def covers(self, day: datetime.date | None) -> bool:
        """Whether it is for a record of this day; one that is for all days is for a record of none, too."""
        if day is None:
            return (self.from_on, self.through_on) == (datetime.date.min, datetime.date.max)
        return self.from_on <= day <= self.through_on


@dataclass(frozen=True)
class TermCodes:
    """What the codes of one connection mean, and the codes of our own terms."""

    ours: Mapping[str, int] = field(default_factory=dict)
    meanings: Mapping[str, Sequence[Meaning]] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection) -> TermCodes:
        meanings: dict[str, list[Meaning]] = {}
        for row in TermCode.objects.filter(connection=connection).select_related("term"):
            meaning = Meaning(
                row.code,
                row.from_on or datetime.date.min,
                row.through_on or datetime.date.max,
                row.term.code,
            )
            meanings.setdefault(row.code, []).append(meaning)
        return cls(Term.objects.codes_to_ids(), meanings)

    def resolve(self, code: str, day: datetime.date | None) -> str:
        """Return the code of the term that a record of `day` means with `code`: what administrators say of the code for
        the day, and of the code for all days; our own term of that code; what they say of the day alone.

        Raises Rejected, with what to do about it, when nobody says.
        """
        said = [meaning for meaning in self.meanings.get(code, ()) if meaning.covers(day)]
        if said:
            # The narrower one: they overlap only where one is for all days.
            return min(said, key=lambda meaning: meaning.through_on - meaning.from_on).term
        if code in self.ours:
            return code
        by_day = [meaning for meaning in self.meanings.get("", ()) if meaning.covers(day)]
        if by_day:
            return min(by_day, key=lambda meaning: meaning.through_on - meaning.from_on).term
        raise Rejected(self._unknown(code, day))

    def _unknown(self, code: str, day: datetime.date | None) -> Rejection:
        of_day = f" for a record of {day}" if day else " for a record without a day"
        known = (
            f"The term code {code} is not kept{of_day}"
            if code in self.meanings
            else f"There is no term {code}"
        )
        return Rejection(
            "unknown_term",
            f"{known}. Say under Term codes which term it stands for; the records are then looked at again.",
            "term_code",
            value=code,
        )
