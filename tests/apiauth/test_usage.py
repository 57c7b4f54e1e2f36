"""How much a consumer calls: counted as it happens, written by a worker that may be killed, doubled or late."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.models import Consumer, ConsumerUsage
from apiauth.rate_limit import count_request
from apiauth.usage import requests_this_hour, store_usage
from tests.apiauth.conftest import MakePartner

pytestmark = pytest.mark.django_db

NOON = datetime.datetime(2026, 11, 25, 12, 20, tzinfo=datetime.UTC)


def kept() -> list[tuple[int, int]]:
    return [(row.hour_at.hour, row.requests) for row in ConsumerUsage.objects.order_by("hour_at")]


def test_every_authenticated_request_counts_whatever_its_status(
    client: Client, partner: MakePartner, token_of: Any
) -> None:
    housing = partner(scopes=["calendar:read"])
    headers = {"Authorization": f"Bearer {token_of(housing)}"}
    for url in ("/api/v1/terms/", "/api/v1/terms/none/"):
        client.get(url, headers=headers)
    client.post("/api/v1/terms/", headers=headers)
    client.get("/api/v1/terms/", headers={"Authorization": "Bearer wrong"})
    assert requests_this_hour(housing.consumer.pk) == 3


def test_counts_are_kept_by_the_hour_and_once_however_often_they_are_written(partner: MakePartner) -> None:
    pk = partner().consumer.pk
    with time_machine.travel(NOON, tick=False) as clock:
        for _ in range(5):
            count_request(pk, 1000)
        store_usage(), store_usage()
        assert kept() == [(12, 5)]
        count_request(pk, 1000)
        clock.shift(datetime.timedelta(hours=2))
        count_request(pk, 1000)
        store_usage()
        assert kept() == [(12, 6), (14, 1)]
        assert requests_this_hour(pk) == 1
        assert Consumer.objects.get().last_used_at == NOON + datetime.timedelta(hours=2)


def test_a_server_that_has_started_anew_takes_nothing_back(partner: MakePartner, settings: Settings) -> None:
    pk = partner().consumer.pk
    with time_machine.travel(NOON, tick=False):
        for _ in range(5):
            count_request(pk, 1000)
        store_usage()
        settings.COUNTERS_PREFIX += "-anew"
        count_request(pk, 1000)
        store_usage()
        assert kept() == [(12, 5)]


def test_a_consumer_that_is_not_there_is_left_out(partner: MakePartner) -> None:
    count_request(partner().consumer.pk + 1000, 1000)
    assert store_usage() == 0


def test_where_no_server_counts_nobody_is_held_up(
    partner: MakePartner, settings: Settings, tmp_path: Any
) -> None:
    settings.COUNTERS_URL = f"unix://{tmp_path}/none.sock"
    count_request(partner().consumer.pk, 1000)
    assert requests_this_hour(Consumer.objects.get().pk) is None
    assert store_usage() == 0
