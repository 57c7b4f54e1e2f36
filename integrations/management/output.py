"""Commands whose outcome a person reads, or a program as exactly one JSON value on stdout."""

from __future__ import annotations

import sys
from abc import abstractmethod
from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.context import Actor, acting

EXIT_FAILED = 1


@dataclass(frozen=True)
class Outcome:
    """What a command has to say: JSON for programs, lines for people, and the exit status for both."""

    data: Any
    lines: list[str] = field(default_factory=list)
    exit_status: int = 0


class Refusal(Exception):
    """The command was not done; its text says why and what to do. Exit status 1."""


class OutcomeCommand(BaseCommand):
    """A command that ends in one Outcome, in the form that `--json` asks for, also when it fails."""

    # What `--json` says beside status and reason when nothing was done, so that a program finds the keys it knows.
    nothing: ClassVar[dict[str, Any]] = {}
    # Its own checks of the whole project would be repeated at every call; `./matricula check` has them.
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument("--json", action="store_true", help="print one JSON value instead of text")
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's, but a fault in the arguments is told in JSON too where that was asked for, and never ends in
        argparse's exit status 2, which has a meaning of its own here."""
        if "--json" in argv[2:]:
            self._called_from_command_line = (
                False  # Django's parsers then raise instead of printing a usage text
            )
            parser = self.create_parser(argv[0], argv[1])
            try:
                options = vars(parser.parse_args(argv[2:]))
            except CommandError as error:
                self._print(self._failure(str(error)), as_json=True)
                sys.exit(EXIT_FAILED)
            options.pop("args", None)
            self.execute(**options)
            return
        self._called_from_command_line = True
        try:
            self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        except SystemExit as end:
            sys.exit(EXIT_FAILED if end.code else 0)
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        with acting(Actor(kind="command", name=f"command: {self._name()}")):
            try:
                outcome = self.outcome(**options)
            except Refusal as error:
                outcome = self._failure(str(error))
            except Exception as error:
                if not options["json"]:
                    raise
                reason = f"The command broke off unexpectedly ({type(error).__name__})."
                self._print(self._failure(reason), as_json=True)
                raise
        self._print(outcome, as_json=options["json"])
        if outcome.exit_status:
            sys.exit(outcome.exit_status)

    @abstractmethod
    def outcome(self, **options: Any) -> Outcome:
        """Do it, and return what came of it. Raises Refusal for what cannot be done."""

    def _failure(self, reason: str) -> Outcome:
        return Outcome({**self.nothing, "status": "failed", "reason": reason}, [reason], EXIT_FAILED)

    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def _print(self, outcome: Outcome, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(orjson.dumps(outcome.data, option=orjson.OPT_INDENT_2).decode())
            return
        stream = self.stderr if outcome.exit_status == EXIT_FAILED else self.stdout
        for line in outcome.lines:
            stream.write(line)


def add_slug(parser: ArgumentParser) -> None:
    """The argument that names a connection."""
    parser.add_argument("slug", help="the connection's slug, such as financial-aid")
