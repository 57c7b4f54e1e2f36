"""The kinds of record that can be synced: an explicit list."""

from __future__ import annotations

from integrations.datasets.aid_awards import AidAwards
from integrations.datasets.base import Dataset
from integrations.datasets.housing_assignments import HousingAssignments

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (AidAwards(), HousingAssignments())}

__all__ = ["DATASETS", "Dataset"]
