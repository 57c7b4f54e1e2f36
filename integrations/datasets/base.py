"""What a kind of record is: its canonical form, its key, what it refers to, and how it lands in registration.

A dataset says what is true of its records; the sync engine says when and how. Four holes are filled by each:
`Record`, `key_of`, `find_references` with `stage`, and `land`.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from integrations.models import Stream, SyncRun
from registration.models import Term


@dataclass(frozen=True)
class Rejection:
    """Why a record cannot be used: the rule that it breaks, the field, and a reason that a registrar understands."""

    rule: str
    reason: str
    field: str = ""


class Rejected(Exception):
    """Raised while a record is mapped or validated; carries the Rejection."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason)
        self.rejection = rejection


class CanonicalRecord(BaseModel):
    """The one shape that every source of a dataset maps to. What it does not name is not taken over."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=False)


@dataclass(frozen=True)
class References:
    """What the records of one page refer to, looked up as sets."""

    students: dict[str, int] = field(default_factory=dict)
    currencies: dict[int, str] = field(default_factory=dict)
    terms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedRecord:
    """A valid record, ready to be written into the plan.

    `values` is its canonical form as JSON values, money in minor units. `is_live` is false for one that says of itself
    that it is no more.
    """

    key: str
    student_id: int
    amount: int | None
    values: dict[str, Any]
    is_live: bool


@dataclass(frozen=True)
class HandEdit:
    """What a person has made of a synced record: the amount that stands now in minor units, or none where it was
    voided; who, when and why."""

    amount: int | None
    by: str
    at: datetime.datetime
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"amount": self.amount, "by": self.by, "at": self.at.isoformat(), "reason": self.reason}


class Dataset(ABC):
    """A kind of record that can be synced."""

    name: ClassVar[str]
    label: ClassVar[str]
    has_money: ClassVar[bool] = False
    # Fields by which a registrar finds the record again; shown first on the run page.
    shown_fields: ClassVar[Sequence[str]] = ()
    # Limits that differ from the usual ones of integrations.sync.guards.
    guard_defaults: ClassVar[Mapping[str, Any]] = {}
    Record: ClassVar[type[CanonicalRecord]]

    @abstractmethod
    def key_of(self, values: dict[str, Any]) -> str:
        """Return the key that mapped but unchecked values carry, or "" when it cannot be read.

        A rejected record is recognised by it, so that it does not count as absent.
        """

    @abstractmethod
    def find_references(self, records: Sequence[Any]) -> References:
        """Look up what these canonical records refer to, in a bounded number of statements."""

    @abstractmethod
    def stage(self, record: Any, references: References) -> StagedRecord:
        """Return the record as it goes into the plan. Raises Rejected when what it refers to is not there."""

    @abstractmethod
    def posts(self, values: dict[str, Any]) -> bool:
        """Whether a record with these canonical values stands on the ledger."""

    def identity(self, values: dict[str, Any]) -> dict[str, Any]:
        """The part of canonical values that decides whether a record has changed: when the source touched it does
        not."""
        return {name: value for name, value in values.items() if name != "updated_at"}

    @abstractmethod
    def land(self, run: SyncRun) -> int:
        """Carry the run's plan into registration, as sets, inside the caller's transaction. Returns how many objects
        were posted: one for each change that was given an id for it, or something was lost on the way."""

    @abstractmethod
    def hand_edits(self, stream: Stream) -> dict[int, HandEdit]:
        """The records that a person has edited since a sync applied them, by the id of their link. Few, and found by an
        index: every sync asks."""

    def line_of(self, record: str) -> str:
        """The SQL expression for the part of the bill where the canonical record in the JSON column `record` stands. A
        record that goes from one part to another moves all its money, though its amount stays."""
        return f"{record} ->> 'status'"

    def is_in_closed_term(self, record: str) -> str:
        """The SQL condition that the canonical record in the JSON column `record` belongs to a term whose books are
        closed: nothing there is voided by absence."""
        return (
            f"EXISTS (SELECT 1 FROM {Term._meta.db_table} AS term "
            f"WHERE term.is_closed AND term.code = {record} ->> 'term_code')"
        )

    def validate(self, values: dict[str, Any]) -> Any:
        """Return the canonical record. Raises Rejected with every fault of the values, in words."""
        try:
            return self.Record.model_validate(values)
        except ValidationError as error:
            raise Rejected(_as_rejection(error)) from None


# pydantic's error types in a registrar's words; `{field}` is the canonical field's name.
_REASONS = {
    "missing": "{field} is missing: the mapping found nothing there",
    "date_from_datetime_inexact": "{field} has a time of day, where a date is expected",
}


def _as_rejection(error: ValidationError) -> Rejection:
    faults = error.errors(include_url=False, include_input=False)
    sentences = []
    for fault in faults:
        name = ".".join(str(part) for part in fault["loc"])
        sentence = _REASONS.get(fault["type"], "{field}: {message}" if name else "{message}")
        message = fault["msg"].removeprefix("Value error, ")
        sentences.append(sentence.format(field=name, message=message))
    first = faults[0]
    return Rejection(
        rule=first["type"] if first["type"] != "value_error" else "invalid_value",
        reason="; ".join(sentences),
        field=str(first["loc"][0]) if first["loc"] else "",
    )
