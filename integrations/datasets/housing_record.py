"""The canonical record of `housing_assignments`: a room kept for a student in a term, as a housing office says it.

docs/datasets.md says the same in words.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from integrations.datasets.base import CanonicalRecord
from integrations.datasets.text import AsText
from registration.models.housing import CONTACT_FIELDS

Reference = Annotated[str, StringConstraints(min_length=1, max_length=64), AsText]
Code = Annotated[str, StringConstraints(min_length=1, max_length=40), AsText]


def _up_to(characters: int) -> StringConstraints:
    # A space at an end must not make a move of "North Hall " and "North Hall".
    return StringConstraints(min_length=1, max_length=characters, strip_whitespace=True)


Short = Annotated[str, _up_to(40), AsText]
Relation = Annotated[str, _up_to(60), AsText]
Hall = Annotated[str, _up_to(100), AsText]
Name = Annotated[str, _up_to(150), AsText]
Address = Annotated[str, _up_to(300), AsText]

# What a record says of where a student can be found: shown masked, and by itself no reason to bill anybody anew.
MASKED: Final = frozenset(CONTACT_FIELDS)
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")


class HousingAssignmentRecord(CanonicalRecord):
    """One assignment of one system. An empty text is as good as none."""

    assignment_id: Reference
    student_number: Code
    term_code: Code
    hall: Hall
    room: Short
    status: Literal["assigned", "checked_in", "checked_out", "cancelled"]
    on_campus: Annotated[bool, Field(strict=True)] = True
    move_in_on: datetime.date | None = None
    move_out_on: datetime.date | None = None
    residence_address: Address | None = None
    residence_phone: Short | None = None
    emergency_contact_name: Name | None = None
    emergency_contact_phone: Short | None = None
    emergency_contact_relation: Relation | None = None
    updated_at: datetime.datetime | None = None

    @field_validator(*CONTACT_FIELDS, mode="before")
    @classmethod
    def _as_one_line(cls, value: object) -> object:
        """People write an address in lines; here they stand behind each other. Of nothing but blanks nothing is left."""
        if not isinstance(value, str):
            return value
        lines = (line.replace("\t", " ").strip() for line in _LINE_BREAK.split(value))
        return ", ".join(filter(None, lines)) or None

    @field_validator("on_campus", mode="before")
    @classmethod
    def _on_campus_by_default(cls, value: object) -> object:
        return True if value is None else value

    @model_validator(mode="after")
    def _days_decide_fees(self) -> Self:
        """What is cancelled never was, whatever its days say; of everything else they have to make sense."""
        if self.status == "cancelled":
            return self
        if self.status == "checked_out" and self.move_out_on is None:
            raise PydanticCustomError(
                "move_out_missing",
                "the student has moved out, and the day is missing: it decides the fees. What is recorded stands "
                "until the source names it in move_out_on",
            )
        if self.move_in_on and self.move_out_on and self.move_out_on < self.move_in_on:
            raise PydanticCustomError(
                "moved_out_before_in", "move_out_on lies before move_in_on: nobody moves out before moving in"
            )
        return self
