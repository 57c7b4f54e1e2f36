"""The buttons of a run page: each takes a decision, and says which run to show and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from django.http import QueryDict

from integrations.admin.reach import Reach
from integrations.decisions import (
    approve_run,
    cancel_run,
    refuse_run,
    release_pins,
    replay_rejections,
    undo_run,
)
from integrations.models import RejectedRecord, SyncRun

MAX_ID_DIGITS: Final = 18  # what surely fits 64 bits


def ids_among(texts: Iterable[str]) -> list[int]:
    """Those of the texts that are ids of rows."""
    return [int(text) for text in texts if text.isdecimal() and len(text) <= MAX_ID_DIGITS]


def _approve(run: SyncRun, form: QueryDict, reach: Reach, *, withhold: bool = False) -> tuple[SyncRun, str]:
    follower = approve_run(
        run,
        checksum=form.get("checksum", ""),
        reason=form.get("reason", ""),
        withhold=withhold,
        keep=ids_among(form.getlist("keep")),
        within=reach.within,
    )
    return follower, f"Approved. Run {follower.pk} carries it out."


def _refuse(run: SyncRun, form: QueryDict, reach: Reach) -> tuple[SyncRun, str]:
    refuse_run(run, reason=form.get("reason", ""), within=reach.within)
    return run, "Refused. Nothing of this plan is applied."


def _cancel(run: SyncRun, form: QueryDict, reach: Reach) -> tuple[SyncRun, str]:
    cancel_run(run, reason=form.get("reason", ""))
    return run, "Cancelled. Nothing of this run is applied."


def _undo(run: SyncRun, form: QueryDict, reach: Reach) -> tuple[SyncRun, str]:
    """Whole, or the changes that were ticked: a page that lists them all says which it lists."""
    only = ids_among(form.getlist("only")) if "selected" in form else None
    undo = undo_run(run, reason=form.get("reason", ""), only=only, within=reach.within)
    return undo, f"Undone. Run {undo.pk} took it back; it can be undone in turn."


def _release(run: SyncRun, form: QueryDict, reach: Reach) -> tuple[SyncRun, str]:
    released = release_pins(run, reason=form.get("reason", ""))
    return run, f"Released: the next run follows the source again for {released:,} records."


def _replay(run: SyncRun, form: QueryDict, reach: Reach) -> tuple[SyncRun, str]:
    rejections = RejectedRecord.objects.filter(run=run)
    replay = replay_rejections(rejections, reason=form.get("reason", ""))
    return replay, f"Run {replay.pk} takes the rejected records again."


Decision = Callable[[SyncRun, QueryDict, Reach], tuple[SyncRun, str]]
DECISIONS: Final[dict[str, Decision]] = {
    "approve": _approve,
    "withhold": partial(_approve, withhold=True),
    "refuse": _refuse,
    "undo": _undo,
    "cancel": _cancel,
    "release": _release,
    "replay": _replay,
}
# What reaches beyond the students of one college whatever it is about: the run as a whole, and the feed.
WHOLE_RUN_DECISIONS: Final = frozenset({"cancel", "release", "replay"})
