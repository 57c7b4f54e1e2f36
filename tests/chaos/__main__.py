"""Kill, stop and restart a whole installation, round after round, and see whether its promises hold:
`./matricula chaos --rounds N [--seed S] [--on embedded|servers]`; with `--load SECONDS` nothing is killed, and everybody writes.

Prints one line of JSON for each round and one at the end. Exit status 0 when everything held, 1 when something did not, with
the seed that plays the same again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import secrets
import sys
from typing import Any

from tests.chaos.installation import KINDS, running
from tests.chaos.stack import NoDatabaseServer


def main() -> int:
    parser = argparse.ArgumentParser(prog="matricula chaos", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--rounds", type=int, help="how many rounds are played")
    what.add_argument("--load", type=float, metavar="SECONDS", help="how long everybody writes at once")
    parser.add_argument("--seed", type=int, help="plays the same again; made up otherwise")
    parser.add_argument("--on", choices=KINDS, default="servers", help="which kind of installation")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(10**6)
    try:
        return _bear(asked.on, asked.load, seed) if asked.load else _play(asked.on, asked.rounds, seed)
    except NoDatabaseServer as error:
        sys.stderr.write(f"matricula: {error}, or play --on embedded\n")
        return 1


def _play(kind: str, rounds: int, seed: int) -> int:
    faults, played_rounds = "", 0
    with running(kind, seed) as installation:
        # Only now: what it imports are models, and they need the installation's Django.
        play: Any = importlib.import_module("tests.chaos.rounds").play
        for played in play(installation, rounds, seed):
            _say(played.as_json())
            played_rounds += 1
            if played.broken:
                faults = played.faults
                sys.stderr.write(installation.stack.last_words() + "\n")
                break  # what follows would only repeat it
    again = f"./matricula chaos --on {kind} --rounds {played_rounds} --seed {seed}"
    _say({"rounds": played_rounds, "broken": int(bool(faults)), "seed": seed, "again": again})
    return _ended(faults)


def _bear(kind: str, seconds: float, seed: int) -> int:
    with running(kind, seed) as installation:
        bear: Any = importlib.import_module("tests.chaos.load").bear
        load = bear(installation, seconds)
        if load.broken:
            sys.stderr.write(installation.stack.last_words() + "\n")
    _say(load.as_json())
    return _ended(" ".join(load.broken))


def _ended(faults: str) -> int:
    """Say last, where somebody looks first, what did not hold. Returns the exit status."""
    if faults:
        sys.stderr.write(f"matricula: {faults}\n")
    return 1 if faults else 0


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
