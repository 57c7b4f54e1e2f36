"""The fragments that pages ask for while a run is under way: cheap, quiet, and under the permission of their page."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apiauth.models import User
from audit.models import AuditEvent
from integrations.admin.progress import progress_of
from integrations.models import Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from tests.integrations.conftest import Sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(stream: Stream) -> SyncRun:
    return request_run(stream, RunTrigger.ADMIN)


@pytest.fixture
def addresses(run: SyncRun) -> list[str]:
    return [
        reverse("admin:integrations_syncrun_progress", args=[run.pk]),
        reverse("admin:integrations_stream_card", args=[run.stream_id]),
    ]


def test_what_has_been_seen_is_not_sent_again(
    administrator: Client, run: SyncRun, addresses: list[str]
) -> None:
    for address in addresses:
        assert "Waiting for a worker" in administrator.get(address).content.decode()
        seen = administrator.get(address, {"seen": progress_of(run).seen})
        assert (seen.status_code, seen.content) == (204, b"")


def test_a_run_that_has_ended_ends_the_asking(administrator: Client, sync: Sync) -> None:
    ended = sync()
    seen = {"seen": progress_of(ended).seen}
    for name, pk in (("syncrun_progress", ended.pk), ("stream_card", ended.stream_id)):
        answer = administrator.get(reverse(f"admin:integrations_{name}", args=[pk]), seen)
        assert (answer.status_code, answer["HX-Trigger-After-Settle"]) == (286, "run-ended")
        assert b"every" not in answer.content  # nothing in it asks again


def test_who_may_not_see_the_page_does_not_see_its_progress(addresses: list[str]) -> None:
    nobody = Client()
    nobody.force_login(User.objects.create_user("nina", is_staff=True))
    assert [nobody.get(address).status_code for address in addresses] == [403, 403]


def test_who_is_not_signed_in_is_told_to_load_the_page_anew(addresses: list[str]) -> None:
    for address in addresses:
        answer = Client().get(address)
        assert (answer.status_code, answer["HX-Refresh"], answer.content) == (403, "true", b"")


def test_asking_changes_nothing_and_is_cheap(
    administrator: Client, run: SyncRun, addresses: list[str], django_assert_max_num_queries: Any
) -> None:
    before = (SyncRun.objects.values().get(), AuditEvent.objects.count())
    for address in addresses:
        with django_assert_max_num_queries(7):
            administrator.get(address)
    assert (SyncRun.objects.values().get(), AuditEvent.objects.count()) == before


def test_a_dry_run_has_no_step_that_applies(stream: Stream) -> None:
    steps = progress_of(request_run(stream, RunTrigger.ADMIN, dry_run=True)).milestones
    assert [(step.label, step.state) for step in steps] == [
        ("Waiting", "current"),
        ("Reading", "ahead"),
        ("Planning", "ahead"),
        ("Checking", "ahead"),
    ]
