"""What a kind of record is: its canonical form, its key, what it refers to, and how it lands in registration.

A dataset says what is true of its records; the sync engine says when and how. Four holes are filled by each:
`Record`, `key_of`, `find_references` with `stage`, and `land`.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.db import models
from pydantic import BaseModel, ConfigDict, ValidationError

from integrations.datasets.rejection import Rejected, Rejection
from integrations.datasets.terms import TermCodes
from integrations.models import Change, Stream, SyncRun
from registration.bulk import reserve_ids
from registration.models import Term

# Stands for a value that is there and is shown to nobody by the way.
MASK: Final = "••••"


class CanonicalRecord(BaseModel):
    """The one shape that every source of a dataset maps to. What it does not name is not taken over."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=False)


@dataclass(frozen=True)
class References:
    """What the records of one page refer to, looked up as sets."""

    students: dict[str, int] = field(default_factory=dict)
    currencies: dict[int, str] = field(default_factory=dict)
    terms: TermCodes = field(default_factory=TermCodes)


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
    """What a person has made of a synced record: the amount that stands now in minor units and the canonical values
    that differ from the record's, or none where it was voided; who, when and why."""

    amount: int | None
    by: str
    at: datetime.datetime
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_void(self) -> bool:
        """Whether nothing stands for the record any more."""
        return self.amount is None

    def as_json(self) -> dict[str, Any]:
        return {
            "amount": self.amount,
            "by": self.by,
            "at": self.at.isoformat(),
            "reason": self.reason,
            "values": dict(self.values),
        }


@dataclass(frozen=True)
class TakenBack:
    """A change that an undo would take back: the row that holds its record now, and what would stand again (canonical
    values and amount in minor units), or none where nothing would."""

    change: Change
    object_id: int | None
    restored: Mapping[str, Any] | None
    amount: int | None


class Dataset(ABC):
    """A kind of record that can be synced."""

    name: ClassVar[str]
    label: ClassVar[str]
    # The model whose rows hold its records.
    held_by: ClassVar[type[models.Model]]
    # Whether it reaches bills, and whether the records themselves carry the amounts.
    has_money: ClassVar[bool] = False
    has_amounts: ClassVar[bool] = False
    # Whether half of what changes for a student would be wrong, such as the end of one room without the other.
    moves_students_whole: ClassVar[bool] = False
    # Fields whose values are shown to nobody by the way.
    masked_fields: ClassVar[frozenset[str]] = frozenset()
    # The permission that lets somebody ask for them; nobody else sees a record as it came.
    masked_for: ClassVar[str] = ""
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
    def find_references(self, records: Sequence[Any], stream: Stream) -> References:
        """Look up what these canonical records of a stream refer to, in a bounded number of statements."""

    @abstractmethod
    def stage(self, record: Any, references: References) -> StagedRecord:
        """Return the record as it goes into the plan. Raises Rejected when what it refers to is not there."""

    @abstractmethod
    def posts(self, values: dict[str, Any]) -> bool:
        """Whether something is to stand in registration for a record with these canonical values."""

    def identity(self, values: dict[str, Any]) -> dict[str, Any]:
        """The part of canonical values that decides whether a record has changed: when the source touched it does
        not."""
        lasting = dict(values)
        lasting.pop("updated_at", None)
        return lasting

    @abstractmethod
    def land(self, run: SyncRun) -> int:
        """Carry the run's plan into registration, as sets, inside the caller's transaction. Returns how many objects
        were posted: one for each change that was given an id for it, or something was lost on the way."""

    @abstractmethod
    def hand_edits(self, stream: Stream) -> dict[int, HandEdit]:
        """The records that a person has edited since a sync applied them, by the id of their link. Few, and found by an
        index: every sync asks."""

    @abstractmethod
    def contradicts(self, says: Mapping[str, Any] | None, edit: HandEdit) -> bool:
        """Whether what the source says of a record (canonical values, or none where nothing would stand) is something
        else than a person has made of it."""

    @abstractmethod
    def why_left(self, taken: Sequence[TakenBack]) -> dict[int, str]:
        """Why some of these changes cannot be taken back, by their ids; the others can."""

    @abstractmethod
    def live_money(self, stream: Stream) -> int:
        """What the stream's live records come to on bills, in minor units: what a gross change is a share of."""

    @abstractmethod
    def in_words(self, values: Mapping[str, Any]) -> str:
        """A record in a few words, as a registrar knows it."""

    def reserve_ids(self, count: int) -> Sequence[int]:
        """Return ids for so many rows that are to hold records."""
        return reserve_ids(self.held_by, count)

    def contradictions(self, run: SyncRun) -> dict[int, Rejection]:
        """Changes of a plan that cannot stand beside what is there, or beside each other, by their ids."""
        return {}

    def money_moved(self, run: SyncRun) -> dict[int, int]:
        """The money that the plan's changes move on bills, in minor units by their ids, where their own amounts do not
        say it."""
        return {}

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
