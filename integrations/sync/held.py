"""Which model's rows hold the records of a link: ids of ledger entries and of rooms are numbers of two kinds."""

from __future__ import annotations

from django.db import models

from integrations.datasets import DATASETS
from integrations.models import Stream, SyncLink


def links_held_by(model: type[models.Model]) -> str:
    """The SQL of a table of links: those of records that rows of `model` hold."""
    names = ", ".join(f"'{dataset.name}'" for dataset in DATASETS.values() if dataset.held_by is model)
    return (
        f"(SELECT held.* FROM {SyncLink._meta.db_table} AS held JOIN {Stream._meta.db_table} AS stream "
        f"ON stream.id = held.stream_id WHERE stream.dataset IN ({names}))"
    )
