"""The admin's doors to billing and housing: a permission, one operation, a message."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from apiauth.models import User
from audit.models import AuditEvent
from registration import operations
from registration.models import (
    CollegeMember,
    FeeChange,
    FeeItem,
    FeeSchedule,
    HousingAssignment,
    LedgerEntry,
    Student,
    Term,
)
from registration.models.billing import EntryKind
from registration.operations import Line
from tests.registration.bills import charged, move_in, noon, signed_on
from tests.university import HALL_FEE, make_schedules, make_section, make_students, make_terms

pytestmark = pytest.mark.usefixtures("endless_sessions")

NAME, PHONE = "Grace Okafor", "+1 555 0100"


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
def office(term: Term) -> Client:
    return signed_on("Administrator")


def page(client: Client, name: str, *arguments: object, status: int = 200) -> str:
    response = client.get(reverse(f"admin:registration_{name}", args=arguments))
    assert response.status_code == status
    return response.content.decode()


def send(client: Client, name: str, *arguments: object, **form: str) -> str:
    """What the page says after a POST that redirects to it."""
    response = client.post(reverse(f"admin:registration_{name}", args=arguments), form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


# --- assessing --------------------------------------------------------------------------------------------


def assess_action(client: Client, term: Term) -> str:
    url = reverse("admin:registration_term_changelist")
    form = {"action": "assess_selected", "_selected_action": str(term.pk)}
    return client.post(url, form, follow=True).content.decode()


def test_an_administrator_assesses_a_term_from_its_list(office: Client, student: Student, term: Term) -> None:
    said = assess_action(office, term)
    assert "1 students are charged 1,762.00 USD; 2 charges posted, 0 voided." in said
    assert LedgerEntry.objects.filter(posted_by="administrator").count() == 2


def test_a_term_that_cannot_be_assessed_says_so(office: Client, term: Term) -> None:
    assert "has no fee schedule" in assess_action(office, Term.objects.get(code="2027SP"))


@pytest.mark.parametrize("role", ["Auditor", "Advisor", "Principal"])
def test_nobody_else_assesses(student: Student, term: Term, role: str) -> None:
    assess_action(signed_on(role), term)
    assert not LedgerEntry.objects.exists()


# --- what waits -------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(clock: time_machine.Traveller, student: Student, term: Term) -> FeeChange:
    operations.assess_fees(term)
    clock.move_to(noon(9, 12))
    move_in(student, term)
    return FeeChange.objects.get()


def test_today_says_that_a_change_waits(office: Client, waiting: FeeChange) -> None:
    said = office.get(reverse("admin:index")).content.decode()
    assert "1 change of fees waits for approval" in said
    assert "Nothing needs you" not in said


def test_a_waiting_change_is_decided_on_its_page(
    office: Client, waiting: FeeChange, student: Student, term: Term
) -> None:
    shown = page(office, "feechange_change", waiting.pk)
    assert "HALL-FEE" in shown
    assert "+99.99 USD" in shown
    assert "Say why" in send(office, "feechange_decide", waiting.pk, "approve", reason="")
    assert "the bill says it now" in send(office, "feechange_decide", waiting.pk, "approve", reason="seen")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE


def test_a_waiting_change_is_refused_on_its_page(office: Client, waiting: FeeChange) -> None:
    assert "stays as it was" in send(office, "feechange_decide", waiting.pk, "refuse", reason="no")
    assert "Approve after all" in page(office, "feechange_change", waiting.pk)
    assert (
        office.get(reverse("admin:registration_feechange_decide", args=[waiting.pk, "approve"])).status_code
        == 405
    )
    assert (
        office.post(reverse("admin:registration_feechange_decide", args=[waiting.pk, "lose"])).status_code
        == 404
    )


@pytest.mark.parametrize("role", ["Auditor", "Advisor", "Principal"])
def test_nobody_else_decides(waiting: FeeChange, role: str) -> None:
    url = reverse("admin:registration_feechange_decide", args=[waiting.pk, "approve"])
    assert signed_on(role).post(url, {"reason": "x"}).status_code == 403
    waiting.refresh_from_db()
    assert waiting.is_waiting


# --- schedules --------------------------------------------------------------------------------------------


def schedule_form(schedule: FeeSchedule, amount: str) -> dict[str, str]:
    items = list(schedule.items.order_by("pk"))
    form = {
        "term": str(schedule.term_id),
        "living_arrangement": schedule.living_arrangement,
        "residency": schedule.residency,
        "items-TOTAL_FORMS": str(len(items)),
        "items-INITIAL_FORMS": str(len(items)),
        "refund_steps-TOTAL_FORMS": "0",
        "refund_steps-INITIAL_FORMS": "0",
    }
    for place, item in enumerate(items):
        form |= {
            f"items-{place}-id": str(item.pk),
            f"items-{place}-schedule": str(schedule.pk),
            f"items-{place}-code": item.code,
            f"items-{place}-description": item.description,
            f"items-{place}-basis": item.basis,
            f"items-{place}-amount": amount if item.code == "TUITION" else "412.00",
        }
    return form


@pytest.mark.parametrize(
    ("amount", "minor", "said"),
    [("455.50", 45_550, "was changed"), ("1.005", 45_000, "decimal digits"), ("-1", 45_000, "not negative")],
)
def test_a_fee_is_written_as_people_write_money(
    office: Client, term: Term, amount: str, minor: int, said: str
) -> None:
    schedule = FeeSchedule.objects.get(term=term, living_arrangement="off_campus", residency="in_state")
    assert "450.00" in page(office, "feeschedule_change", schedule.pk)
    assert said in send(office, "feeschedule_change", schedule.pk, **schedule_form(schedule, amount))
    assert FeeItem.objects.get(schedule=schedule, code="TUITION").amount_minor == minor


# --- the profile ------------------------------------------------------------------------------------------


@pytest.fixture
def housed(student: Student, term: Term) -> HousingAssignment:
    row = HousingAssignment(
        student=student, term=term, hall="North Hall", room="12", emergency_contact_name=NAME,
        emergency_contact_phone=PHONE, residence_address="1 Elm Street",
    )  # fmt: skip
    return operations.record_assignment(row)


def test_the_profile_says_where_the_student_lives_and_why_each_fee_is_there(
    office: Client, housed: HousingAssignment, student: Student, term: Term
) -> None:
    operations.assess_fees(term)
    shown = page(office, "student_change", student.pk)
    assert "North Hall 12" in shown
    assert "3.00 credits" in shown
    assert "schedule 2026FA on campus, in state" in shown
    assert "Statement Fall 2026" in shown


@pytest.mark.parametrize("role", ["Administrator", "Advisor", "Auditor"])
def test_contact_data_is_on_no_page_by_the_way(
    housed: HousingAssignment, student: Student, role: str
) -> None:
    client = signed_on(role)
    shown = page(client, "student_change", student.pk)
    shown += page(client, "housingassignment_changelist") + page(
        client, "housingassignment_change", housed.pk
    )
    assert "North Hall" in shown
    for secret in (NAME, PHONE, "1 Elm Street"):
        assert secret not in shown
    assert not AuditEvent.objects.filter(action="housing_assignment.contact_seen").exists()


def test_a_look_at_the_contact_is_asked_for_and_kept(office: Client, housed: HousingAssignment) -> None:
    url = reverse("admin:registration_housingassignment_contact", args=[housed.pk])
    response = office.post(url)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    for part in (NAME, PHONE, "1 Elm Street"):
        assert part in response.content.decode()
    assert AuditEvent.objects.get(action="housing_assignment.contact_seen").actor_name == "administrator"
    assert office.get(url).status_code == 405


@pytest.mark.parametrize("role", ["Advisor", "Auditor", "Principal"])
def test_nobody_else_looks_at_the_contact(housed: HousingAssignment, role: str) -> None:
    url = reverse("admin:registration_housingassignment_contact", args=[housed.pk])
    assert signed_on(role).post(url).status_code == 403
    assert not AuditEvent.objects.filter(action="housing_assignment.contact_seen").exists()


def test_a_principal_sees_no_housing_on_a_profile(housed: HousingAssignment, student: Student) -> None:
    principal = signed_on("Principal")
    assert student.program is not None
    CollegeMember.objects.create(user=User.objects.get(username="principal"), college=student.program.college)
    assert "North Hall" not in page(principal, "student_change", student.pk)


def test_a_move_in_the_admin_keeps_the_first_room_as_history(
    office: Client, housed: HousingAssignment, student: Student, term: Term
) -> None:
    form = {"hall": "South Hall", "room": "3", "status": "assigned", "on_campus": "on"}
    send(office, "housingassignment_change", housed.pk, **form)
    rows = HousingAssignment.objects.order_by("pk").values_list("hall", "status", "emergency_contact_name")
    assert list(rows) == [("North Hall", "checked_out", NAME), ("South Hall", "assigned", NAME)]


def test_a_room_that_is_added_in_the_admin_moves_the_fees(
    office: Client, student: Student, term: Term
) -> None:
    operations.assess_fees(term)
    form = {"student": str(student.pk), "term": str(term.pk), "hall": "North Hall", "room": "1"}
    send(office, "housingassignment_add", **form, status="assigned", on_campus="on")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    assert HousingAssignment.objects.get().recorded_by == "administrator"


def test_a_residency_that_is_corrected_in_the_admin_moves_the_fees(
    office: Client, student: Student, term: Term
) -> None:
    operations.assess_fees(term)
    form = {"number": student.number, "given_name": "Ada", "family_name": "Okafor", "status": "active"}
    send(office, "student_change", student.pk, **form, residency="out_of_state")
    assert charged(student, term)["TUITION"] == 330_000


def test_a_student_is_withdrawn_on_the_profile(office: Client, student: Student, term: Term) -> None:
    assert "Say why" in send(office, "student_withdraw", student.pk, term=term.code)
    said = send(office, "student_withdraw", student.pk, term=term.code, reason="leaves")
    assert "Withdrawn from 1 sections of Fall 2026." in said
    assert student.enrollments.get().status == "withdrawn"


@pytest.mark.parametrize("name", ["student_withdraw", "billingaccount_refund"])
@pytest.mark.parametrize("role", ["Advisor", "Auditor", "Principal"])
def test_nobody_else_withdraws_or_refunds(student: Student, term: Term, name: str, role: str) -> None:
    url = reverse(f"admin:registration_{name}", args=[student.pk])
    form = {"term": term.code, "reason": "x", "amount": "1"}
    client = signed_on(role)
    assert client.post(url, form).status_code == 403
    assert client.get(url).status_code == 405


# --- credit, statement, export ----------------------------------------------------------------------------


@pytest.fixture
def in_credit(student: Student, term: Term) -> Student:
    operations.assess_fees(term)
    operations.post(student, term, Line(EntryKind.AID, 200_000, "PELL", "=HYPERLINK(1)"))
    return student


def test_a_credit_balance_is_listed_and_refunded(office: Client, in_credit: Student, term: Term) -> None:
    listed = page(office, "billingaccount_changelist")
    assert "238.00 USD" in listed
    assert "14 days" in listed
    form = {"term": term.code, "reason": "check 1"}
    assert "Nothing was refunded" in send(
        office, "billingaccount_refund", in_credit.pk, **form, amount="9,00"
    )
    assert "238.00 USD in credit" in send(office, "billingaccount_refund", in_credit.pk, **form, amount="239")
    assert "238.00 USD refunded" in send(
        office, "billingaccount_refund", in_credit.pk, **form, amount="238.00"
    )
    assert "No account is in credit" in page(office, "billingaccount_changelist")


def test_a_statement_adds_up_and_its_file_holds_no_formula(
    office: Client, in_credit: Student, term: Term
) -> None:
    operations.void(LedgerEntry.objects.get(code="STUDENT-FEE"), reason="x")
    shown = page(office, "student_statement", in_credit.pk, term.code)
    assert "in credit" in shown
    assert "650.00 USD" in shown
    response = office.get(reverse("admin:registration_student_statement_csv", args=[in_credit.pk, term.code]))
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert [(row["code"], row["description"], row["amount"], row["balance"]) for row in rows] == [
        ("TUITION", "Tuition", "1350.00", "1350.00"),
        ("PELL", "'=HYPERLINK(1)", "-2000.00", "-650.00"),
    ]
    assert response["Content-Disposition"] == 'attachment; filename="statement-S0000001-2026FA.csv"'


def test_a_statement_is_for_those_who_may_see_bills(in_credit: Student, term: Term) -> None:
    page(signed_on("Advisor"), "student_statement", in_credit.pk, term.code)
    page(signed_on("Principal"), "student_statement", in_credit.pk, term.code, status=403)


def test_the_ledger_is_downloaded_with_its_checksum(office: Client, in_credit: Student) -> None:
    url = reverse("admin:registration_ledgerentry_export")
    assert "Download CSV" in office.get(url).content.decode()
    wrong = office.post(url, {"first_on": "2026-09-02", "last_on": "2026-09-01"})
    assert "lies before the first" in wrong.content.decode()
    days = {"first_on": "2026-09-01", "last_on": "2026-09-01"}
    told = office.post(url, {**days, "totals": "1"}).content.decode()
    assert "3 movements from" in told
    assert "Student receivables" in told
    assert not AuditEvent.objects.filter(action="ledger.exported").exists()
    response = office.post(url, days)
    assert f"SHA-256 {response['X-Checksum-SHA256']}" in told
    assert response["X-Checksum-SHA256"] == hashlib.sha256(response.content).hexdigest()
    event = AuditEvent.objects.get(action="ledger.exported")
    assert (event.detail["rows"], event.detail["sha256"]) == (6, response["X-Checksum-SHA256"])
    assert signed_on("Principal").get(url).status_code == 403
