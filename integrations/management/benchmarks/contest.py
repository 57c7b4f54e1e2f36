"""A contest: the product and its peers take turns, round by round, and each is compared with the product of its round."""

from __future__ import annotations

import http.client
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from integrations.management.benchmarks.load import Load, Measured, ask, ask_a_few, drive
from integrations.management.benchmarks.servers import Server, running

PRODUCT: Final = "product"
_WARM_UP_SECONDS: Final = 1


@dataclass(frozen=True)
class Contestant:
    """A server and what is asked of it. `shown` takes from an answer what has to be the same for all of them."""

    name: str
    server: Server
    load: Load
    shown: Callable[[Any], Any]


@dataclass(frozen=True)
class Effort:
    """How long each turn is, and how many there are. `requests`: a few, one after the other, instead of as many as can be."""

    seconds: int = 5
    rounds: int = 3
    requests: int = 0


@dataclass(frozen=True)
class Turn:
    """What a contestant did in a round, and what the first address answered."""

    name: str
    measured: Measured
    shown: Any


def lines_of(
    bench: str, contestants: Sequence[Contestant], environment: Mapping[str, str], effort: Effort
) -> Iterator[dict[str, Any]]:
    """A line for each turn as it ends, then one for each contestant: the median of its turns, and how many times as many
    requests the product answers (the median over rounds, each of which saw the same machine).

    Raises RuntimeError when a contestant answers otherwise than the product, or not at all.
    """
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for place in range(effort.rounds):
        turns = []
        for contestant in contestants:
            turn = _turn(contestant, environment, effort)
            turns.append(turn)
            rates[turn.name].append(turn.measured.rps)
            yield {"bench": bench, "peer": turn.name, "round": place + 1, "rps": turn.measured.rps}
        _refuse_differences(turns)
    for name, found in rates.items():
        ratios = [product / max(peer, 0.1) for product, peer in zip(rates[PRODUCT], found, strict=True)]
        yield {
            "bench": bench,
            "peer": name,
            "rps": statistics.median(found),
            "ratio": round(statistics.median(ratios), 2),
        }


def _turn(contestant: Contestant, environment: Mapping[str, str], effort: Effort) -> Turn:
    with running(contestant.server, environment) as base:
        connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
        status, body = ask(connection, contestant.load, contestant.load.paths[0])
        connection.close()
        if status != http.client.OK:
            raise RuntimeError(f"{contestant.name} answered {status}: {body[:300].decode(errors='replace')}")
        if effort.requests:
            measured = ask_a_few(base, contestant.load, effort.requests)
        else:
            drive(base, contestant.load, _WARM_UP_SECONDS)
            measured = drive(base, contestant.load, effort.seconds)
    if measured.failed:
        raise RuntimeError(f"{contestant.name}: {measured.failed} of {measured.requests} requests failed.")
    return Turn(contestant.name, measured, contestant.shown(orjson.loads(body)))


def _refuse_differences(turns: Sequence[Turn]) -> None:
    (product,) = (turn for turn in turns if turn.name == PRODUCT)
    others = [turn.name for turn in turns if turn.shown != product.shown]
    if others:
        raise RuntimeError(f"{', '.join(others)} answered otherwise than the product: nothing is compared.")
