"""A run that waits for a slow system keeps its lease; one whose process is gone does not."""

from __future__ import annotations

import json
import time

import pytest
from django.db import connection as database
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.models import RunLease, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run, save_connection
from integrations.sync.lease import Lease, take
from integrations.sync.runner import execute_run
from tests.integrations.feed import Feed, award
from tests.university import make_students, make_terms

DEADLINE_SECONDS = 20


@pytest.mark.django_db(transaction=True)
def test_a_page_that_takes_longer_than_the_lease_does_not_cost_the_run(
    feed: Feed, httpserver: HTTPServer, settings: Settings
) -> None:
    settings.RUN_LEASE_SECONDS = 1
    make_terms()
    make_students(1)
    document = feed.document()
    document["datasets"]["aid_awards"] |= {"path": "/slow", "pagination": {"type": "none"}}
    connection, _ = save_connection(document)
    taken: list[Lease | None] = []

    def answer_after_the_lease(request: Request) -> Response:
        """Answer only when the lease that was taken first would have run out, and another process has tried to take the run over."""
        first_end = RunLease.objects.get().expires_at
        deadline = time.monotonic() + DEADLINE_SECONDS
        while RunLease.objects.get().heartbeat_at <= first_end and time.monotonic() < deadline:
            time.sleep(0.05)
        taken.append(take(SyncRun.objects.get().pk))
        database.close()
        return Response(json.dumps({"data": [award(1)]}), content_type="application/json")

    httpserver.expect_request("/slow").respond_with_handler(answer_after_the_lease)
    run = execute_run(request_run(connection.streams.get(), RunTrigger.COMMAND).pk)
    assert taken == [None]
    assert (run.status, run.created) == ("applied", 1)
