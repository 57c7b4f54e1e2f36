"""The demo's partner: made once, its keys in a file that only its owner reads, which follows the address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.utils import timezone

from apiauth.models import Consumer
from audit.models import AuditEvent
from integrations.management.sandbox import provide_sandbox
from registration.models import StudentGrant
from tests.refusals import rolled_back

pytestmark = pytest.mark.django_db

HERE, THERE = "http://127.0.0.1:8000", "http://127.0.0.1:8080"


def values_in(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)$", file.read_text(), re.MULTILINE))


def test_its_keys_are_in_a_file_of_its_owner(tmp_path: Path) -> None:
    file = provide_sandbox(tmp_path, HERE)
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    made, values = Consumer.objects.get(), values_in(file)
    assert (values["BASE"], values["CLIENT_ID"]) == (HERE, made.client_id)
    assert made.knows_secret(values["CLIENT_SECRET"], timezone.now())
    assert {"enrollment:read", "billing:read", "webhooks:manage"} <= set(made.scopes)
    assert not {"integrations:read", "integrations:manage"} & set(made.scopes)
    assert StudentGrant.objects.get().purpose
    assert {event.actor_name for event in AuditEvent.objects.about(made)} == {"command: up"}
    assert values["CLIENT_SECRET"] not in str(list(AuditEvent.objects.values()))


def test_a_later_start_keeps_the_keys_and_says_where_the_api_is_now(tmp_path: Path) -> None:
    first = provide_sandbox(tmp_path, HERE)
    assert first is not None
    before = values_in(first)
    again = provide_sandbox(tmp_path, THERE)
    assert again == first
    assert values_in(first) == {**before, "BASE": THERE}
    assert Consumer.objects.count() == 1


def test_keys_whose_file_is_gone_are_nobody_s_and_no_others_are_made(tmp_path: Path) -> None:
    file = provide_sandbox(tmp_path, HERE)
    assert file is not None
    file.unlink()
    secret = Consumer.objects.get().client_secret
    assert provide_sandbox(tmp_path, HERE) is None
    assert Consumer.objects.get().client_secret == secret
    assert not file.exists()


def test_a_start_that_ended_before_its_commit_leaves_a_file_that_the_next_one_writes_anew(
    tmp_path: Path,
) -> None:
    with rolled_back():
        file = provide_sandbox(tmp_path, HERE)
    assert file is not None
    before = values_in(file)
    assert provide_sandbox(tmp_path, HERE) == file
    assert values_in(file)["CLIENT_ID"] == Consumer.objects.get().client_id != before["CLIENT_ID"]
