"""Load the demo university: `manage.py load_demo [--students 2000] [--seed 1]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.context import Actor, acting
from registration.demo import load_demo


class Command(BaseCommand):
    help = "Make a demo university, the same every time; where there are students already, change nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--students", type=int, default=2000)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument(
            "--without-fees", action="store_true", help="charge nobody yet: rooms are synced before"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["students"] < 1:
            raise CommandError(
                "A university has at least one student: give --students a number from 1 upward."
            )
        with acting(Actor(kind="command", name="command: load_demo")):
            loaded = load_demo(
                students=options["students"], seed=options["seed"], charges=not options["without_fees"]
            )
        if loaded.is_new:
            self.stdout.write(f"The demo university is there: {loaded.students:,} students.")
        else:
            self.stdout.write(f"Nothing was loaded: there are {loaded.students:,} students already.")
