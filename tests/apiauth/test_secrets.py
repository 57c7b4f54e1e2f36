"""Secrets and tokens: random, kept as digests, compared in constant time, two at once while they are rotated."""

from __future__ import annotations

import datetime
import hmac
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings as project
from django.contrib.auth.hashers import identify_hasher, make_password
from django.core.management import call_command
from django.utils import timezone

from apiauth import operations
from apiauth.models import Consumer, User
from apiauth.secrets import ALGORITHM, digest_of, make_secret, secret_matches
from audit.models import AuditEvent
from tests.apiauth.conftest import Ask, MakePartner, basic

pytestmark = pytest.mark.django_db

GRANT = {"grant_type": "client_credentials"}
HOUR = datetime.timedelta(hours=1)


def asks(ask: Ask, consumer: Consumer, secret: str) -> int:
    return ask("/oauth/token/", GRANT, basic(consumer.client_id, secret)).status_code


def test_a_secret_has_256_random_bits() -> None:
    made = {make_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(secret) for secret in made} == {43}


def test_the_same_secret_twice_has_two_digests() -> None:
    assert digest_of("x") != digest_of("x")
    assert secret_matches("x", digest_of("x"))
    assert not secret_matches("y", digest_of("x"))
    assert not secret_matches("x", "")


def test_secrets_are_compared_in_constant_time_also_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, original = [], hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secret_matches("x", digest_of("x"))
    secret_matches("x", "")
    assert [len(one) == len(other) == 64 for one, other in compared] == [True, True]


def test_people_s_passwords_keep_a_slow_hash() -> None:
    assert identify_hasher(make_password("x")).algorithm == "pbkdf2_sha256"
    assert User.objects.create_user("ada", password="x").password.startswith("pbkdf2_sha256$")
    assert project.OAUTH2_PROVIDER["CLIENT_SECRET_HASHER"] == ALGORITHM


def test_django_s_own_check_knows_the_digest() -> None:
    hasher = identify_hasher(digest_of("x"))
    assert hasher.verify("x", digest_of("x"))
    assert not hasher.must_update(digest_of("x"))
    assert "x" not in hasher.safe_summary(digest_of("x")).values()


# --- rotation ---------------------------------------------------------------------------------------------


def test_two_secrets_work_during_the_overlap_and_one_after_it(ask: Ask, partner: MakePartner) -> None:
    old = partner()
    new = operations.rotate_secret(old.consumer, overlap=HOUR, reason="A laptop was lost")
    assert (asks(ask, old.consumer, old.secret), asks(ask, old.consumer, new.secret)) == (200, 200)
    with time_machine.travel(timezone.now() + HOUR):
        assert (asks(ask, old.consumer, old.secret), asks(ask, old.consumer, new.secret)) == (401, 200)


def test_without_an_overlap_the_old_secret_ends_with_the_rotation(ask: Ask, partner: MakePartner) -> None:
    old = partner()
    new = operations.rotate_secret(old.consumer, overlap=datetime.timedelta(0))
    assert (asks(ask, old.consumer, old.secret), asks(ask, old.consumer, new.secret)) == (401, 200)


def test_a_second_rotation_ends_the_oldest_secret(ask: Ask, partner: MakePartner) -> None:
    first = partner()
    second = operations.rotate_secret(first.consumer, overlap=HOUR)
    third = operations.rotate_secret(first.consumer, overlap=HOUR)
    found = [asks(ask, first.consumer, each.secret) for each in (first, second, third)]
    assert found == [401, 200, 200]


def test_tokens_go_on_when_a_secret_is_rotated(
    ask: Ask, partner: MakePartner, token_of: Any, client: Any
) -> None:
    old = partner()
    token = token_of(old)
    operations.rotate_secret(old.consumer, overlap=datetime.timedelta(0))
    assert client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_form_that_is_sent_twice_rotates_once(partner: MakePartner) -> None:
    consumer = partner().consumer
    seen = consumer.secret_changed_at
    operations.rotate_secret(consumer, overlap=HOUR, seen=seen)
    with pytest.raises(operations.Refused, match="in the meantime"):
        operations.rotate_secret(consumer, overlap=HOUR, seen=seen)
    assert AuditEvent.objects.filter(action="consumer.secret_rotated").count() == 1


@pytest.mark.parametrize("overlap", [datetime.timedelta(seconds=-1), datetime.timedelta(days=91)])
def test_an_overlap_is_neither_negative_nor_for_ever(
    partner: MakePartner, overlap: datetime.timedelta
) -> None:
    with pytest.raises(operations.Refused, match="90 days at most"):
        operations.rotate_secret(partner().consumer, overlap=overlap)


def test_a_revoked_consumer_gets_no_new_secret_and_comes_back_by_no_operation(
    ask: Ask, partner: MakePartner
) -> None:
    housing = partner()
    operations.revoke(housing.consumer, reason="The contract ended")
    for act in (operations.suspend, operations.resume, operations.revoke):
        with pytest.raises(operations.Refused):
            act(housing.consumer)
    with pytest.raises(operations.Refused, match="create another"):
        operations.rotate_secret(housing.consumer, overlap=HOUR)
    Consumer.objects.update(status="active")  # not even by hand: the secret is gone
    assert asks(ask, housing.consumer, housing.secret) == 401


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (operations.suspend, "consumer.suspended"),
        (operations.revoke, "consumer.revoked"),
    ],
)
def test_what_is_done_is_on_the_trail_with_its_reason(partner: MakePartner, act: Any, action: str) -> None:
    consumer = partner().consumer
    act(consumer, reason="Why not")
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.action, event.reason, event.subject_id) == (action, "Why not", str(consumer.pk))


def test_suspending_twice_and_resuming_what_runs_are_refused_in_words(partner: MakePartner) -> None:
    consumer = partner().consumer
    with pytest.raises(operations.Refused, match="only what is suspended"):
        operations.resume(consumer)
    operations.suspend(consumer)
    with pytest.raises(operations.Refused, match="nothing to suspend"):
        operations.suspend(consumer)


# --- a dump of the database -------------------------------------------------------------------------------


def test_a_dump_of_the_database_yields_nothing_usable(
    ask: Ask, partner: MakePartner, token_of: Any, tmp_path: Path
) -> None:
    old = partner()
    new = operations.rotate_secret(old.consumer, overlap=HOUR)
    secrets_and_tokens = [old.secret, new.secret, token_of(old), token_of(old, "calendar:read")]
    dump = tmp_path / "dump.json"
    call_command("dumpdata", output=str(dump))
    kept = dump.read_text()
    assert old.consumer.client_id in kept
    assert [secret for secret in secrets_and_tokens if secret in kept] == []
    # What is in it, presented as a secret or a token, opens nothing.
    old.consumer.refresh_from_db()
    digest = old.consumer.client_secret
    for stolen in (digest, digest.rpartition("$")[2]):
        assert asks(ask, old.consumer, stolen) == 401


def test_nothing_of_a_secret_or_token_is_logged(
    ask: Ask,
    partner: MakePartner,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    token_of: Any,
) -> None:
    with caplog.at_level("DEBUG"):
        housing = partner()
        token = token_of(housing)
        ask("/oauth/introspect/", {"token": token}, housing.basic)
        ask("/oauth/revoke_token/", {"token": token}, housing.basic)
        ask("/oauth/token/", GRANT | {"client_secret": housing.secret}, housing.basic)
    said = caplog.text + "".join(capfd.readouterr())
    assert housing.secret not in said
    assert token not in said
