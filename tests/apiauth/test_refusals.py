"""Every authentication event is on the trail; floods of one kind from one source are one event and a count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.refusals import Kind, tell_counted_refusals
from audit.models import AuditEvent
from tests.apiauth.conftest import Ask, MakePartner, basic

pytestmark = pytest.mark.django_db

GRANT = {"grant_type": "client_credentials"}
TokenOf = Callable[..., str]


def newest() -> AuditEvent:
    event = AuditEvent.objects.first()
    assert event is not None
    return event


def facts(event: AuditEvent) -> tuple[str, str, str]:
    return event.action, event.subject_id, event.detail.get("kind", "")


def test_a_token_that_is_issued_is_on_the_trail_with_its_consumer_and_never_itself(
    ask: Ask, partner: MakePartner
) -> None:
    housing = partner(scopes=["calendar:read"])
    answer: Any = ask("/oauth/token/", GRANT, housing.basic, REMOTE_ADDR="192.0.2.7")
    event = newest()
    assert (event.action, event.subject_id) == ("token.issued", str(housing.consumer.pk))
    assert (event.actor_kind, event.actor_id, event.actor_name) == (
        "consumer",
        str(housing.consumer.pk),
        "Housing office",
    )
    assert (event.address, event.request_id) == ("192.0.2.7", answer.headers["X-Request-Id"])
    assert event.detail["scope"] == "calendar:read"
    assert answer.json()["access_token"] not in str(list(AuditEvent.objects.values()))


def test_revoking_a_token_is_on_the_trail(ask: Ask, partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner()
    ask("/oauth/revoke_token/", {"token": token_of(housing)}, housing.basic)
    assert (newest().action, newest().actor_name) == ("token.revoked", "Housing office")


def test_what_revokes_nothing_is_on_the_trail_only_where_the_token_is_another_s(
    ask: Ask, partner: MakePartner, token_of: TokenOf
) -> None:
    housing, library = partner(), partner("Library")
    token = token_of(library)
    before = AuditEvent.objects.count()
    ask("/oauth/revoke_token/", {"token": "unknown"}, housing.basic)
    assert AuditEvent.objects.count() == before
    ask("/oauth/revoke_token/", {"token": token}, housing.basic)
    assert facts(newest()) == ("token.revocation_refused", str(housing.consumer.pk), Kind.ANOTHER_S_TOKEN)


def test_each_kind_of_refusal_of_a_client_is_on_the_trail(ask: Ask, partner: MakePartner) -> None:
    housing = partner()
    pk = str(housing.consumer.pk)
    told = []
    for form, auth in (
        (GRANT, None),
        (GRANT, basic("nobody", "x")),
        (GRANT, basic(housing.consumer.client_id, "wrong")),
        (GRANT | {"scope": "x"}, housing.basic),
        ({}, housing.basic),
        ({"grant_type": "password"}, housing.basic),
    ):
        ask("/oauth/token/", form, auth)
        told.append(facts(newest()))
    assert told == [
        ("client.refused", "0", Kind.NO_CREDENTIALS),
        ("client.refused", "0", Kind.UNKNOWN_CLIENT),
        ("client.refused", pk, Kind.WRONG_SECRET),
        ("token.refused", pk, Kind.SCOPE),
        ("token.refused", "0", Kind.MALFORMED),
        ("token.refused", "0", Kind.MALFORMED),  # the same kind from the same source: counted, not written
    ]
    assert AuditEvent.objects.filter(action="token.refused", subject_id="0").count() == 1


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"status": "suspended"}, Kind.SUSPENDED),
        ({"status": "revoked"}, Kind.REVOKED),
        ({"expires_on": "2020-01-01"}, Kind.EXPIRED),
        ({"networks": "192.0.2.0/24"}, Kind.NETWORK),
    ],
)
def test_a_consumer_that_may_not_call_is_on_the_trail_at_both_doors(
    client: Client, ask: Ask, partner: MakePartner, token_of: TokenOf, columns: dict[str, Any], kind: Kind
) -> None:
    housing = partner()
    token = token_of(housing)
    type(housing.consumer).objects.update(**columns)
    ask("/oauth/token/", GRANT, housing.basic)
    assert facts(newest()) == ("client.refused", str(housing.consumer.pk), kind)
    client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"})
    assert facts(newest()) == ("bearer.refused", str(housing.consumer.pk), kind)


def test_a_bearer_token_that_fails_is_on_the_trail(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner(scopes=["sections:read"])
    token = token_of(housing)
    client.get("/api/v1/terms/", headers={"Authorization": "Bearer wrong"})
    assert facts(newest()) == ("bearer.refused", "0", Kind.UNKNOWN_TOKEN)
    client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"})
    assert facts(newest()) == ("bearer.refused", str(housing.consumer.pk), Kind.SCOPE)
    assert newest().detail["scope"] == "calendar:read"
    client.get(f"/api/v1/terms/?access_token={token}")
    assert facts(newest()) == ("bearer.refused", "0", Kind.TOKEN_IN_ADDRESS)
    assert "wrong" not in str(list(AuditEvent.objects.values()))


def test_who_shows_no_token_has_tried_nothing(client: Client, db: None) -> None:
    client.get("/api/v1/terms/")
    assert not AuditEvent.objects.exists()


def test_a_flood_is_one_event_at_once_and_one_with_its_count_when_the_minute_is_over(
    client: Client, db: None
) -> None:
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for number in range(500):
            client.get("/api/v1/terms/", headers={"Authorization": f"Bearer guess-{number}"})
        assert AuditEvent.objects.count() == 1
        assert tell_counted_refusals() == 0  # the minute is not over
        clock.shift(60)
        assert tell_counted_refusals() == 1
        assert tell_counted_refusals() == 0
    event = newest()
    assert facts(event) == ("bearer.refused", "0", Kind.UNKNOWN_TOKEN)
    assert event.detail["times"] == 499
    assert event.detail["minute"] == "2027-01-15T08:00:00+00:00"
    assert event.address == "127.0.0.1"
    assert event.actor_name == "unproven caller"


def test_each_source_and_each_kind_is_counted_for_itself(ask: Ask, partner: MakePartner) -> None:
    wrong = basic(partner().consumer.client_id, "wrong")
    before = AuditEvent.objects.count()
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for _ in range(3):
            ask("/oauth/token/", GRANT, wrong, REMOTE_ADDR="192.0.2.1")
            ask("/oauth/token/", GRANT, wrong, REMOTE_ADDR="192.0.2.2")
            ask("/oauth/token/", GRANT, basic("nobody", "x"), REMOTE_ADDR="192.0.2.1")
        assert AuditEvent.objects.count() == before + 3
        clock.shift(61)
        assert tell_counted_refusals() == 3
    told = AuditEvent.objects.all()[:3]
    assert {(event.address, event.detail["kind"], event.detail["times"]) for event in told} == {
        ("192.0.2.1", Kind.WRONG_SECRET, 2),
        ("192.0.2.2", Kind.WRONG_SECRET, 2),
        ("192.0.2.1", Kind.UNKNOWN_CLIENT, 2),
    }


def test_where_no_server_counts_every_refusal_is_written(
    client: Client, db: None, settings: Settings, tmp_path: Any
) -> None:
    settings.COUNTERS_URL = f"unix://{tmp_path}/none.sock"
    for _ in range(3):
        client.get("/api/v1/terms/", headers={"Authorization": "Bearer wrong"})
    assert AuditEvent.objects.count() == 3
    assert tell_counted_refusals() == 0


def test_what_throttles_is_on_the_trail_once(ask: Ask, db: None) -> None:
    with time_machine.travel(1_800_000_000, tick=False):
        for _ in range(40):
            ask("/oauth/token/", GRANT, basic("nobody", "x"))
    kinds = [event.detail["kind"] for event in AuditEvent.objects.all()]
    assert sorted(kinds) == [Kind.THROTTLED, Kind.UNKNOWN_CLIENT]
