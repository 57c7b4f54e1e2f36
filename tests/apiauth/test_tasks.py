"""What beat rings for is there, and each ring is one call that may come at any time."""

from __future__ import annotations

import pytest
from time_machine import travel

from apiauth import tasks
from apiauth.models import ConsumerUsage
from apiauth.rate_limit import count_request
from apiauth.refusals import Kind, record_refusal
from audit.models import AuditEvent
from config.celery import app
from integrations.tasks import remind_of_expiry
from tests.apiauth.conftest import MakePartner

pytestmark = pytest.mark.django_db


def test_each_ring_of_the_beat_table_reaches_a_task() -> None:
    app.loader.import_default_modules()
    rung = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {"apiauth.tasks.store_usage", "integrations.tasks.remind_of_expiry"} <= rung
    assert rung <= set(app.tasks)


def test_the_tasks_do_what_they_are_called(partner: MakePartner) -> None:
    housing = partner()
    with travel(1_800_000_000, tick=False) as clock:
        count_request(housing.consumer.pk, 1000)
        for _ in range(3):
            record_refusal("bearer.refused", Kind.UNKNOWN_TOKEN)
        clock.shift(60)
        assert tasks.store_usage() == 1
        assert tasks.tell_counted_refusals() == 1
    assert tasks.remove_expired_tokens() == 0
    assert remind_of_expiry() == 0
    assert ConsumerUsage.objects.get().requests == 1
    assert AuditEvent.objects.filter(action="bearer.refused").count() == 2
