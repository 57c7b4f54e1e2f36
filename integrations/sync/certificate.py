"""The certificate of a run: two equations, in counts and in money, that its plan and its applied state must satisfy.

1. Everything read is accounted for: read = created + modified + cancelled + unchanged + copies + rejected + held.
2. What is live adds up: live_after = live_before + created + (modified - modified_before) - cancelled_before - absent.

In counts the two `_before` figures equal their fellows; in money they are what the records came to until now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings

from integrations.datasets import DATASETS
from integrations.models import Change, SyncRun
from integrations.models.plan import ChangeAction
from integrations.models.run import RunStatus
from registration.money import decimal_text, display


class CertificateBroken(Exception):
    """A run's equations do not hold: it must not be applied."""


@dataclass
class Tally:
    """The figures of one run, either in records or in minor units of money."""

    read: int = 0
    created: int = 0
    modified: int = 0
    modified_before: int = 0
    cancelled: int = 0
    cancelled_before: int = 0
    absent: int = 0
    unchanged: int = 0
    copies: int = 0
    rejected: int = 0
    held: int = 0
    live_before: int = 0

    @property
    def accounted_for(self) -> int:
        """The right side of the first equation."""
        return (
            self.created
            + self.modified
            + self.cancelled
            + self.unchanged
            + self.copies
            + self.rejected
            + self.held
        )

    @property
    def live_after(self) -> int:
        """The right side of the second equation."""
        gone = self.cancelled_before + self.absent
        return self.live_before + self.created + (self.modified - self.modified_before) - gone


@dataclass
class Certificate:
    """What a run's plan comes to, in records and in money."""

    counts: Tally = field(default_factory=Tally)
    sums: Tally = field(default_factory=Tally)
    # Changes that a decision did not cover, and that another plan has to bring up again.
    beyond_approval: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it, for whoever takes the run over (`from_json`)."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Certificate:
        """A certificate as `as_json` wrote it."""
        return cls(Tally(**kept["counts"]), Tally(**kept["sums"]), kept["beyond_approval"])

    def check_read(self) -> None:
        """Raise CertificateBroken unless everything that was read is accounted for."""
        for name, tally in (("records", self.counts), ("money", self.sums)):
            if tally.read != tally.accounted_for:
                raise CertificateBroken(
                    f"Of what was read, not everything is accounted for in {name}: "
                    f"{tally.read} read, {tally.accounted_for} accounted for."
                )

    def reject(self, change: Change) -> None:
        """Count a planned change as rejected instead."""
        for tally, before, after in (
            (self.counts, 1, 1),
            (self.sums, change.amount_before or 0, change.amount_after or 0),
        ):
            if change.action == ChangeAction.CREATE:
                tally.created -= after
            else:
                tally.modified, tally.modified_before = tally.modified - after, tally.modified_before - before
            tally.rejected += after

    @staticmethod
    def check_posted(posted: int, planned: int) -> None:
        """Raise CertificateBroken unless everything that was to be posted was: a term may have changed its code."""
        if posted != planned:
            raise CertificateBroken(f"What was posted does not add up: {planned} planned, {posted} posted.")

    def check_live(self, live: int, amount: int) -> None:
        """Raise CertificateBroken unless what is live now is what it should be."""
        for name, found, tally in (("records", live, self.counts), ("money", amount, self.sums)):
            if found != tally.live_after:
                raise CertificateBroken(
                    f"What is live does not add up in {name}: {tally.live_after} expected, {found} found."
                )

    def write_to(self, run: SyncRun) -> None:
        """Put the figures into the run's columns; the caller saves it."""
        counts = self.counts
        run.read, run.created, run.modified = counts.read, counts.created, counts.modified
        run.voided, run.absent = counts.cancelled + counts.absent, counts.absent
        run.unchanged, run.copies, run.rejected = counts.unchanged, counts.copies, counts.rejected
        run.held, run.live_before, run.live_after = counts.held, counts.live_before, counts.live_after
        run.certificate = {"currency": settings.CURRENCY, "sums": _with_results(self.sums)}


def _with_results(tally: Tally) -> dict[str, int]:
    return {**asdict(tally), "voided": tally.cancelled_before + tally.absent, "live_after": tally.live_after}


def equations(run: SyncRun) -> list[tuple[str, str]]:
    """The two equations of an applied run, in records and in money, as people read them."""
    if run.status != RunStatus.APPLIED or not run.certificate:
        return []
    counts = {
        "read": run.read,
        "created": run.created,
        "modified": run.modified,
        "modified_before": run.modified,
        "cancelled": run.voided - run.absent,
        "voided": run.voided,
        "unchanged": run.unchanged,
        "copies": run.copies,
        "rejected": run.rejected,
        "held": run.held,
        "live_before": run.live_before,
        "live_after": run.live_after,
    }
    currency, sums = run.certificate["currency"], run.certificate["sums"]
    in_records = ("In records", _in_words(counts, lambda count: f"{count:,}"))
    if not DATASETS[run.stream.dataset].has_amounts:
        return [in_records]
    return [in_records, ("In money", _in_words(sums, lambda minor: display(minor, currency)))]


def _in_words(tally: dict[str, int], shown: Callable[[int], str]) -> str:
    """Both equations with the terms that are not zero."""
    kinds = ("created", "modified", "cancelled", "unchanged", "copies", "rejected", "held")
    parts = [f"{shown(tally[kind])} {kind}" for kind in kinds if tally[kind]] or ["nothing"]
    moves = [f"+ {shown(tally['created'])} created"] if tally["created"] else []
    if difference := tally["modified"] - tally["modified_before"]:
        moves.append(f"{'+' if difference > 0 else '-'} {shown(abs(difference))} by modification")
    if tally["voided"]:
        moves.append(f"- {shown(tally['voided'])} voided")
    live = " ".join([f"{shown(tally['live_before'])} live before", *moves])
    return f"{shown(tally['read'])} read = {' + '.join(parts)}; {live} = {shown(tally['live_after'])} live after."


def shown_sums(run: SyncRun) -> dict[str, str]:
    """A run's sums as plain decimal strings, with their currency; empty where nothing was counted, or records carry no
    amounts."""
    if not run.certificate or not DATASETS[run.stream.dataset].has_amounts:
        return {}
    currency: str = run.certificate["currency"]
    sums: dict[str, Any] = run.certificate["sums"]
    return {"currency": currency, **{name: decimal_text(minor, currency) for name, minor in sums.items()}}
