"""The commands of billing, and the nightly look at the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import load_command_class

from audit.models import AuditEvent
from integrations.models import Alert
from integrations.sync.verification import verify_ledger
from integrations.tasks import verify_ledger as verify_ledger_nightly
from registration import operations
from registration.models import FeeChange, FeeItem, FeeSchedule, LedgerEntry, Student, Term
from tests.registration.bills import charged, move_in, noon
from tests.university import HALL_FEE, make_schedules, make_section, make_students, make_terms

Manage = Callable[..., tuple[int, Any]]


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str]) -> Manage:
    """Run a command with --json: its exit status and the one value on its stdout."""

    def run(command: str, *arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("integrations", command).run_from_argv(
                ["manage.py", command, *arguments, "--json"]
            )
        except SystemExit as end:
            status = int(end.code or 0)
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(noon(9, 1), tick=False) as coordinates:
        yield coordinates


@pytest.fixture
def term(db: None) -> Term:
    fall, _ = make_terms()
    make_schedules(fall)
    return fall


@pytest.fixture
def student(term: Term) -> Student:
    one = make_students(1)[0]
    operations.enroll(one, make_section(term))
    return one


@pytest.fixture
def waiting(clock: time_machine.Traveller, student: Student, term: Term) -> FeeChange:
    operations.assess_fees(term)
    clock.move_to(noon(9, 12))
    move_in(student, term)
    return FeeChange.objects.get()


def test_assess_fees_reports_what_it_did_and_the_second_time_that_there_was_nothing_to_do(
    manage: Manage, student: Student
) -> None:
    status, said = manage("assess_fees", "2026FA")
    assert (status, said["status"], said["term"], said["reason"]) == (0, "applied", "2026FA", "")
    assert (said["students"], said["posted"], said["voided"], said["waiting"]) == (1, 2, 0, 0)
    assert said["sums"] == {"currency": "USD", "before": "0.00", "after": "1762.00"}
    assert set(LedgerEntry.objects.values_list("posted_by", flat=True)) == {"command: assess_fees"}
    status, again = manage("assess_fees", "2026FA")
    assert (status, again["posted"], again["voided"]) == (0, 0, 0)
    assert again["sums"]["before"] == again["sums"]["after"] == "1762.00"


def test_assess_fees_ends_in_2_while_something_waits_for_a_person(manage: Manage, waiting: FeeChange) -> None:
    status, said = manage("assess_fees", "2026FA")
    assert (status, said["status"], said["waiting"]) == (2, "held", 1)
    assert "1 changes of fees wait for a person" in said["reason"]


def test_assess_fees_names_whom_no_schedule_fits(manage: Manage, student: Student) -> None:
    FeeItem.objects.all().delete()
    FeeSchedule.objects.filter(living_arrangement="off_campus", residency="in_state").update(currency="JPY")
    status, said = manage("assess_fees", "2026FA")
    assert (status, said["unpriced"], said["unpriced_students"]) == (2, 1, ["S0000001"])


@pytest.mark.parametrize(
    ("code", "reason"), [("1999FA", "There is no term"), ("2027SP", "has no fee schedule")]
)
def test_assess_fees_that_cannot_be_done_fails_in_words(
    manage: Manage, term: Term, code: str, reason: str
) -> None:
    status, said = manage("assess_fees", code)
    assert (status, said["status"], said["posted"]) == (1, "failed", 0)
    assert reason in said["reason"]


def test_fee_changes_are_listed_and_decided(
    manage: Manage, waiting: FeeChange, student: Student, term: Term
) -> None:
    status, (listed,) = manage("fee_changes", "list", "--term", "2026FA")
    assert (status, listed["student"], listed["before"], listed["after"]) == (0, "S0000001", "0.00", "99.99")
    assert listed["lines"] == [{"code": "HALL-FEE", "before": "0.00", "after": "99.99"}]
    look = AuditEvent.objects.get(action="feechange.listed")
    assert (look.detail["shown"], look.detail["student"]) == (1, listed["student"])
    status, said = manage("fee_changes", "approve", str(waiting.pk), "--reason", "seen")
    assert (status, said["status"], said["decided_by"]) == (0, "approved", "command: fee_changes")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    assert manage("fee_changes", "list") == (0, [])
    status, said = manage("fee_changes", "refuse", str(waiting.pk), "--reason", "no")
    assert (status, "approved already" in said["reason"]) == (1, True)
    assert manage("fee_changes", "refuse", "999", "--reason", "no")[0] == 1


def test_export_ledger_writes_a_file_that_its_checksum_fits(
    manage: Manage, student: Student, term: Term, tmp_path: Path
) -> None:
    operations.assess_fees(term)
    path = tmp_path / "ledger.csv"
    arguments = ("export_ledger", "--from", "2026-09-01", "--to", "2026-09-01", "--output", str(path))
    status, said = manage(*arguments)
    assert (status, said["movements"], said["rows"], said["totals"]) == (
        0, 2, 4, [{"currency": "USD", "kind": "charge", "effect": "1762.00"}],
    )  # fmt: skip
    assert said["accounts"] == [
        {"account": "Student receivables", "currency": "USD", "debit": "1762.00", "credit": "0.00"},
        {"account": "Tuition and fees", "currency": "USD", "debit": "0.00", "credit": "1762.00"},
    ]
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    status, said = manage(*arguments)
    assert (status, "not there yet" in said["reason"]) == (1, True)
    assert manage("export_ledger", "--from", "2026-09-02", "--to", "2026-09-01", "--output", "x")[0] == 1


# --- the nightly look -------------------------------------------------------------------------------------


def rules() -> list[str]:
    return [fault.rule for fault in verify_ledger().faults]


def test_a_ledger_that_is_what_the_schedules_say_has_no_fault(student: Student, term: Term) -> None:
    assert rules() == []  # not assessed yet
    operations.assess_fees(term)
    assert rules() == []


def test_a_fee_that_is_not_what_the_schedule_says_is_a_fault(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    FeeItem.objects.filter(code="TUITION").update(amount_minor=50_000)
    assert rules() == ["fee_differs"]
    assert "S0000001 is charged 135000 of TUITION in 2026FA" in verify_ledger().faults[0].sentence
    operations.assess_fees(term)
    assert rules() == []


def test_what_waits_for_a_person_or_was_refused_by_one_is_no_fault(waiting: FeeChange) -> None:
    assert rules() == []
    operations.refuse_fee_change(waiting, reason="no")
    assert rules() == []


def test_a_closed_term_is_not_looked_at(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    FeeItem.objects.filter(code="TUITION").update(amount_minor=50_000)
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=True)
    assert rules() == []


def test_a_charge_of_another_term_or_currency_than_its_schedule_s_is_a_fault(
    student: Student, term: Term
) -> None:
    spring = Term.objects.get(code="2027SP")
    item = FeeItem.objects.filter(schedule__residency="in_state", code="TUITION").first()
    LedgerEntry.objects.create(
        account_id=student.pk, term=spring, kind="charge", state="posted", amount_minor=1, currency="EUR",
        code="TUITION", fee_item=item, posted_at=noon(9, 1), posted_by="bea",
    )  # fmt: skip
    assert {"fee_of_another_term", "fee_in_another_currency", "currency_differs"} <= set(rules())


def test_the_nightly_look_alerts_once_and_closes_by_itself(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    assert verify_ledger_nightly() == 0
    assert not Alert.objects.exists()
    FeeItem.objects.filter(code="TUITION").update(amount_minor=50_000)
    assert (verify_ledger_nightly(), verify_ledger_nightly()) == (1, 1)
    alert = Alert.objects.open().get()
    assert (alert.times, alert.stream, alert.title) == (2, None, "The ledger does not add up")
    assert "1 faults, by rule: fee_differs 1." in alert.text
    assert "S0000001" not in alert.text  # an alert is mailed
    assert alert.get_absolute_url() == "/admin/"
    operations.assess_fees(term)
    verify_ledger_nightly()
    assert not Alert.objects.open().exists()
