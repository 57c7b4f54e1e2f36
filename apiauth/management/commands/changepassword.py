"""Give somebody a new password, on the trail: `manage.py changepassword USERNAME`, as Django's but for that."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any, Final

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from apiauth.accounts import set_password
from apiauth.models import User
from audit.context import Actor, acting

MAX_TRIES: Final = 3


class Command(BaseCommand):
    help = "Give an account a new password, which is asked for. That it was given is on the audit trail."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "username", nargs="?", help="whose password; yours, by the name of your login here"
        )

    def handle(self, *args: Any, **options: Any) -> str:
        username = options["username"] or getpass.getuser()
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no account {username}.")
        self.stdout.write(f"A new password for {username}")
        password = self._asked(user)
        with acting(Actor(kind="command", name="command: changepassword")):
            set_password(user, password)
        return f"{username} has a new password; whoever was signed in with the old one is signed out."

    def _asked(self, user: User) -> str:
        """What was typed twice alike and is good enough. Raises CommandError after some tries."""
        for _ in range(MAX_TRIES):
            password = getpass.getpass("Password: ")
            if password != getpass.getpass("Password (again): "):
                self.stderr.write("These are two different passwords.")
                continue
            try:
                validate_password(password, user)
            except ValidationError as error:
                self.stderr.write("\n".join(error.messages))
            else:
                return password
        raise CommandError(f"Nothing was changed: {MAX_TRIES} tries, and no password that could be taken.")
