"""Triggers as migration operations: what the database itself does or refuses, whoever writes."""

from __future__ import annotations

from abc import abstractmethod

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class TriggerOperation(Operation):
    """Make triggers of a table with `statements`, and take them away again with `removal`."""

    reversible = True
    reduces_to_sql = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Triggers are no part of Django's state."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for statement in self.statements(schema_editor.connection.vendor):
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for statement in self.removal(schema_editor.connection.vendor):
            schema_editor.execute(statement, params=None)

    @abstractmethod
    def statements(self, vendor: str) -> list[str]:
        """The statements that make the triggers on a database of this vendor, in order."""

    @abstractmethod
    def removal(self, vendor: str) -> list[str]:
        """The statements that take the triggers away again, in order."""
