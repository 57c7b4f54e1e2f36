"""The last runs of each feed as a strip: one mark a run, the newest at the right, in the tone of its status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from integrations.admin.badges import RUN_TONES
from integrations.models import Stream, SyncRun
from integrations.models.run import RunStatus

RUNS_SHOWN: Final = 30
STEP: Final = 10
MARK_WIDTH: Final = 8
HEIGHT: Final = 12


@dataclass(frozen=True)
class Strip:
    """A strip: a path for each tone, and the same in words for who does not see it."""

    paths: list[tuple[str, str]]
    sentence: str
    width: int = STEP * RUNS_SHOWN - (STEP - MARK_WIDTH)


@dataclass(frozen=True)
class LastRuns:
    """The newest run of a feed, and the statuses of its last runs, the newest first."""

    newest: int
    statuses: list[RunStatus]


def with_edges(streams: QuerySet[Stream]) -> QuerySet[Stream]:
    """Say of each stream how far back its strip reaches: by one look into an index each, where a window over all runs would
    read them all."""
    runs = SyncRun.objects.filter(stream=OuterRef("pk")).order_by("-pk").values("pk")
    return streams.annotate(edge=Coalesce(Subquery(runs[RUNS_SHOWN - 1 : RUNS_SHOWN]), 0))


def last_runs(streams: Sequence[Stream]) -> dict[int, LastRuns]:
    """The last runs of each of the streams (`with_edges`) that has any, by its key: one statement that reads no more than is
    shown."""
    reaches = [Q(stream=stream, pk__gte=stream.edge) for stream in streams]  # type: ignore[attr-defined]
    if not reaches:
        return {}
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    rows = SyncRun.objects.filter(reduce(or_, reaches)).order_by("-pk").values_list("stream", "pk", "status")
    for stream, pk, status in rows:
        found[stream].append((pk, status))
    return {
        stream: LastRuns(each[0][0], [RunStatus(status) for _, status in each])
        for stream, each in found.items()
    }


def strip_of(statuses: Sequence[RunStatus]) -> Strip:
    """Draw the statuses, the newest first, from the right."""
    places: dict[str, list[int]] = defaultdict(list)
    for back, status in enumerate(statuses):
        places[RUN_TONES[status]].append(RUNS_SHOWN - 1 - back)
    paths = [(tone, _path(sorted(at))) for tone, at in places.items()]
    return Strip(paths, _sentence(statuses))


def _path(places: Iterable[int]) -> str:
    return "".join(f"M{place * STEP} 0h{MARK_WIDTH}v{HEIGHT}h-{MARK_WIDTH}z" for place in places)


def _sentence(statuses: Sequence[RunStatus]) -> str:
    counts = Counter(status.label.lower() for status in statuses)
    words = ", ".join(f"{count} {label}" for label, count in counts.most_common())
    return f"The last {len(statuses)} runs: {words}." if len(statuses) > 1 else f"The one run: {words}."
