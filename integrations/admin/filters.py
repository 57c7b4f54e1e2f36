"""Filters of lists that the side bar leads to: what failed today, what is held, what has never run."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from integrations.models import Connection, SyncRun


class EndedFilter(admin.SimpleListFilter):
    """Runs by the day that they ended on, by the clocks of the office."""

    title = "ended"
    parameter_name = "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("today", "Today"), ("week", "Within seven days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SyncRun]) -> QuerySet[SyncRun]:
        back = {"today": 0, "week": 6}.get(self.value() or "")
        if back is None:
            return queryset
        first = timezone.localdate() - datetime.timedelta(days=back)
        midnight = timezone.make_aware(datetime.datetime.combine(first, datetime.time()))
        return queryset.filter(finished_at__gte=midnight)


class RunsFilter(admin.SimpleListFilter):
    """Connections by whether any run of theirs was ever made."""

    title = "runs"
    parameter_name = "runs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("never", "Never run"), ("some", "Has run")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Connection]) -> QuerySet[Connection]:
        any_run = Exists(SyncRun.objects.filter(stream__connection=OuterRef("pk")))
        if self.value() == "never":
            return queryset.filter(~any_run)
        return queryset.filter(any_run) if self.value() == "some" else queryset
