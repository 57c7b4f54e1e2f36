"""Incremental feeds: how a source is asked only for what has changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.connectors.pagination import check_expression


class Incremental(BaseModel):
    """How to ask only for what changed: `param` is sent with the moment that `field`, a path in the record, had reached.
    Once in `full_every` days everything is read all the same: what has gone shows in nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    param: str = Field(min_length=1)
    field: str = Field(min_length=1)
    full_every: int = Field(default=7, ge=1, le=365)
    overlap_minutes: int = Field(default=10, ge=0, le=7 * 24 * 60)

    @field_validator("field")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        return check_expression(value)
