"""Indexes that are made and taken away while others write, as migration operations.

The trail is the table that every request adds to, and it is large: a plain CREATE INDEX would make all of them wait for as long
as it takes. A migration of these has `atomic = False`, which PostgreSQL asks of CONCURRENTLY. SQLite has one writer anyway.
"""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.state import ProjectState
from django.db.models import Index


class AddIndexLive(AddIndex):
    """Make an index without keeping anybody from writing."""

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        _add(self.index, self.model_name, app_label, schema_editor, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        _remove(self.index, self.model_name, app_label, schema_editor, from_state)


class RemoveIndexLive(RemoveIndex):
    """Take an index away without keeping anybody from writing."""

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        _remove(index, self.model_name, app_label, schema_editor, from_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        _add(index, self.model_name, app_label, schema_editor, to_state)


def _add(
    index: Index, model_name: str, app_label: str, editor: BaseDatabaseSchemaEditor, state: ProjectState
) -> None:
    model = state.apps.get_model(app_label, model_name)
    if editor.connection.vendor != "postgresql":
        editor.add_index(model, index)
        return
    # An attempt that was broken off leaves an index of this name that is never used.
    editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {editor.quote_name(index.name)}")
    editor.add_index(model, index, concurrently=True)  # type: ignore[call-arg]  # PostgreSQL's editor takes it


def _remove(
    index: Index, model_name: str, app_label: str, editor: BaseDatabaseSchemaEditor, state: ProjectState
) -> None:
    model = state.apps.get_model(app_label, model_name)
    if editor.connection.vendor != "postgresql":
        editor.remove_index(model, index)
        return
    editor.remove_index(model, index, concurrently=True)  # type: ignore[call-arg]  # PostgreSQL's editor takes it
