"""The roles of a PostgreSQL installation, as SQL: `manage.py audit_roles --runtime NAME [--owner NAME] | psql`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from audit.database_roles import role_statements


class Command(BaseCommand):
    help = "Print the SQL that makes the runtime role and the archivist's role on PostgreSQL; the tables' owner runs it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--runtime", default="matricula_runtime", help="the role that web and workers connect as"
        )
        parser.add_argument("--owner", help="the role that migrates; that of DATABASE_URL otherwise")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError(
                "Only PostgreSQL has roles: on SQLite whoever can open the file can do everything."
            )
        settings = connection.settings_dict
        try:
            statements = role_statements(
                runtime=options["runtime"],
                database=settings["NAME"],
                owner=options["owner"] or settings["USER"],
            )
        except ValueError as error:
            raise CommandError(str(error)) from None
        for statement in statements:
            self.stdout.write(f"{statement};")
