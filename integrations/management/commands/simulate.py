"""Run a stand-in for an external system: `manage.py simulate [--system NAME] [--fault KIND[:RATE]] [--latency MS] [--load]`.

Without a mode it serves data; `--fault` is the error mode, `--latency` the latency mode, `--load` the performance mode.
"""

from __future__ import annotations

import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from integrations.simulators import SYSTEMS
from integrations.simulators.faults import FAULTS, Faults, NotAFault, parse_fault
from integrations.simulators.server import Load, Pace, SystemServer, serve

MAX_LATENCY_MS: Final = 60_000
MAX_RECORDS: Final = 2_000_000


class Command(BaseCommand):
    help = "Run a simulated external system on this machine, with made-up data that is the same for the same seed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, default=0, help="the port on 127.0.0.1; any free one otherwise"
        )
        parser.add_argument(
            "--system", choices=sorted(SYSTEMS), default="aid", help="which system to stand in for"
        )
        parser.add_argument(
            "--records", type=_whole(0, MAX_RECORDS), default=2600, help="how many records it has"
        )
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same records")
        parser.add_argument(
            "--students",
            type=_whole(1, MAX_RECORDS),
            default=2000,
            help="how many students the records are about",
        )
        parser.add_argument(
            "--fault",
            action="append",
            type=_fault,
            default=[],
            metavar="KIND[:RATE]",
            help="what goes wrong, and how often (0 to 1; always, otherwise); may be given several times. "
            + "; ".join(f"{kind}: it {fault.words}" for kind, fault in FAULTS.items()),
        )
        parser.add_argument(
            "--latency",
            type=_whole(0, MAX_LATENCY_MS),
            default=0,
            metavar="MS",
            help="milliseconds that each answer takes: half to one and a half of it",
        )
        parser.add_argument(
            "--load",
            action="store_true",
            help="keep answers, so that the simulator is no bottleneck, and say at the end what was served",
        )
        parser.add_argument(
            "--token-seconds",
            type=_whole(1, 1_000_000),
            default=3600,
            help="how long a token of its token endpoint is good",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        system = SYSTEMS[options["system"]](
            records=options["records"],
            seed=options["seed"],
            students=options["students"],
            faults=Faults(tuple(options["fault"]), options["seed"]),
            token_seconds=options["token_seconds"],
        )
        pace, load = Pace(latency=options["latency"] / 1000), Load(is_keeping=options["load"])
        try:
            server = serve(system, options["port"], pace=pace, load=load)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", "") or "a port is a number from 0 to 65535"
            raise CommandError(f"Port {options['port']} cannot be used: {reason}.") from None
        self._serve(server)
        if options["load"]:
            seconds = monotonic() - server.started
            self.stdout.write(
                f"served {load.requests:,} answers, {load.bytes / 1e6:,.1f} MB in {seconds:.1f} s"
            )

    def _serve(self, server: SystemServer) -> None:
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        self.stdout.write(f"ready http://127.0.0.1:{server.server_port}")
        self.stdout.flush()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()


def _fault(text: str) -> tuple[str, float]:
    try:
        return parse_fault(text)
    except NotAFault as error:
        raise ArgumentTypeError(str(error)) from None


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text[:12]) <= high):
            raise ArgumentTypeError(f"a whole number from {low} to {high:,} is needed, not {text[:20]!r}")
        return int(text)

    return read
