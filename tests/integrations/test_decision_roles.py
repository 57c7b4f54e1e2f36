"""Who decides: administrators about everything, principals about their college, advisors and auditors about nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from apiauth.models import User
from audit.models import AuditEvent
from integrations.models import SyncRun
from integrations.sync.runner import execute_run
from registration.models import College, CollegeMember, Program, Student
from tests.integrations.conftest import Balance, Load, Sync, signed_in
from tests.integrations.feed import UNGUARDED, Feed, award

ACTING = ["approve", "withhold", "refuse", "undo", "cancel", "release", "replay"]


@pytest.fixture
def principal(students: list[Student]) -> Client:
    """The principal of the sciences, to whom students 1 to 3 belong."""
    sciences = College.objects.create(code="SCI", name="Sciences")
    biology = Program.objects.create(code="BSBIO", name="Biology", college=sciences)
    Student.objects.filter(number__in=["S0000001", "S0000002", "S0000003"]).update(program=biology)
    client = signed_in("petra", role="Principal")
    CollegeMember.objects.create(user=User.objects.get(username="petra"), college=sciences)
    return client


def decide(client: Client, run: SyncRun, decision: str, **form: Any) -> int:
    url = f"/admin/integrations/syncrun/{run.pk}/decide/{decision}/"
    return client.post(url, {"reason": "seen", "checksum": run.plan_checksum, **form}).status_code


@pytest.fixture
def held_of(feed: Feed, load: Load, sync: Sync) -> Any:
    """A held first load for these students."""

    def hold(*numbers: int) -> SyncRun:
        load(guards={**UNGUARDED, "first_load": "hold"})
        feed.awards = [award(number) for number in numbers]
        run = sync()
        assert run.status == "held"
        return run

    return hold


def test_a_principal_approves_a_plan_of_the_own_college(
    principal: Client, held_of: Any, balance: Balance
) -> None:
    held = held_of(1, 2)
    assert decide(principal, held, "approve") == 302
    assert execute_run(SyncRun.objects.get(carries_out=held).pk).created == 2
    assert (balance(1), balance(2)) == (-10_000, -10_000)
    assert AuditEvent.objects.get(action="sync_run.approved").actor_name == "petra"


@pytest.mark.parametrize("decision", ["approve", "withhold", "refuse"])
def test_a_principal_decides_no_plan_that_concerns_another_college(
    principal: Client, held_of: Any, decision: str
) -> None:
    held = held_of(1, 2, 7)
    assert decide(principal, held, decision) == 302
    held.refresh_from_db()
    assert held.status == "held"
    page = principal.get(held.get_absolute_url()).content.decode()
    assert "This plan concerns 1 students who are not of Sciences: an administrator has to decide." in page


def test_a_principal_sees_only_the_changes_of_the_own_college(principal: Client, held_of: Any) -> None:
    held = held_of(1, 7)
    page = principal.get(held.get_absolute_url()).content.decode()
    assert "A0001#1" in page
    assert "A0007#1" not in page
    assert "S0000007" not in page
    found = principal.get(held.get_absolute_url(), {"q": "S0000007"}).content.decode()
    assert "A0007#1" not in found


def test_a_principal_undoes_the_part_of_the_own_college(
    principal: Client, feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1), award(7)]
    run = sync()
    page = principal.get(f"/admin/integrations/syncrun/{run.pk}/undo/").content.decode()
    assert "1 change for 1 student would be taken back" in page
    assert "not a student of Sciences" in page
    theirs = list(run.changes.values_list("pk", flat=True))
    assert decide(principal, run, "undo", selected="1", only=theirs) == 302
    assert (balance(1), balance(7)) == (0, -10_000)


@pytest.mark.parametrize("decision", ["cancel", "release", "replay"])
def test_what_concerns_the_whole_feed_is_not_a_principals(
    principal: Client, held_of: Any, decision: str
) -> None:
    assert decide(principal, held_of(1), decision) == 403


def test_a_principal_of_no_college_decides_nothing_and_sees_no_change(held_of: Any) -> None:
    client = signed_in("paul", role="Principal")
    held = held_of(1)
    assert decide(client, held, "approve") == 403
    assert "A0001#1" not in client.get(held.get_absolute_url()).content.decode()


@pytest.mark.parametrize("role", ["Advisor", "Auditor"])
@pytest.mark.parametrize("decision", ACTING)
def test_advisors_and_auditors_see_and_never_act(held_of: Any, role: str, decision: str) -> None:
    client = signed_in("someone", role=role)
    held = held_of(1)
    page = client.get(held.get_absolute_url())
    assert page.status_code == 200
    assert "Approve all" not in page.content.decode()
    assert decide(client, held, decision) == 403
    held.refresh_from_db()
    assert held.status == "held"


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_each_decision_is_in_the_trail_with_who_when_and_why(
    administrator: Client, held_of: Any, decision: str
) -> None:
    held = held_of(1)
    decide(administrator, held, decision, reason="the office confirmed it")
    event = AuditEvent.objects.get(action=f"sync_run.{'approved' if decision == 'approve' else 'refused'}")
    assert (event.actor_kind, event.actor_name, event.reason) == ("user", "ada", "the office confirmed it")
    assert (event.subject_type, event.subject_id) == ("integrations.syncrun", str(held.pk))


@pytest.mark.django_db
def test_the_roles_are_made_by_a_migration_with_these_permissions() -> None:
    def decides(role: str) -> set[str]:
        permissions = Group.objects.get(name=role).permissions.filter(codename__startswith="decide")
        return set(permissions.values_list("codename", flat=True))

    assert {role: decides(role) for role in ("Administrator", "Principal", "Advisor", "Auditor")} == {
        "Administrator": {"decide_syncrun"},
        "Principal": {"decide_college_syncrun"},
        "Advisor": set(),
        "Auditor": set(),
    }
