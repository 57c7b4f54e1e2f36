"""Run a stand-in for an external system: `manage.py simulate [--port P] [--system NAME] [--records N] [--seed N]`."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.simulators import SYSTEMS
from integrations.simulators.server import serve


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
        parser.add_argument("--records", type=int, default=2600, help="how many records it has")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same records")
        parser.add_argument(
            "--students", type=int, default=2000, help="how many students the records are about"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        system = SYSTEMS[options["system"]](
            records=options["records"], seed=options["seed"], students=options["students"]
        )
        try:
            server = serve(system, options["port"])
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", "") or "a port is a number from 0 to 65535"
            raise CommandError(f"Port {options['port']} cannot be used: {reason}.") from None
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        self.stdout.write(f"ready http://127.0.0.1:{server.server_port}")
        self.stdout.flush()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
