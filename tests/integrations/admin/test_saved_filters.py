"""The side bar leads to what people look for again and again, and shows that and nothing else."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.admin import SAVED_FILTERS
from integrations.models import Connection, Stream, SyncRun

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def run(stream: Stream, status: str, days_ago: int) -> SyncRun:
    end = timezone.now() - datetime.timedelta(days=days_ago)
    return SyncRun.objects.create(
        stream=stream,
        status=status,
        trigger="schedule",
        started_by="schedule",
        reason="Down.",
        finished_at=end,
    )


def rows_at(client: Client, model: str, words: str) -> list[Any]:
    """What the list shows at a link of the side bar, which has to be on the page."""
    address = reverse(f"admin:{model.replace('.', '_')}_changelist")
    query = dict(SAVED_FILTERS[model])[words]
    assert f'href="{address}?{query.replace("&", "&amp;")}"' in client.get(address).content.decode()
    return list(client.get(f"{address}?{query}").context["cl"].result_list)


def test_what_failed_today_and_what_is_held(administrator: Client, stream: Stream) -> None:
    failed, _, held = run(stream, "failed", 0), run(stream, "failed", 1), run(stream, "held", 9)
    run(stream, "previewed", 0)
    assert rows_at(administrator, "integrations.syncrun", "Failed today") == [failed]
    assert rows_at(administrator, "integrations.syncrun", "Held") == [held]


def test_what_has_never_run(administrator: Client, stream: Stream) -> None:
    run(stream, "previewed", 0)
    new = Connection.objects.create(
        slug="new", name="New", connector="rest", base_url="https://a.example.edu"
    )
    assert rows_at(administrator, "integrations.connection", "Never run") == [new]
