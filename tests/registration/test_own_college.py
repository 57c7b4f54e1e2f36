"""A principal sees the students of the own college and no other, whichever door is tried."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from apiauth.models import User
from apiauth.roles import ADVISOR, PRINCIPAL
from registration import operations
from registration.models import College, CollegeMember, Enrollment, Program, Student, Term
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db


@pytest.fixture
def own() -> Student:
    return Student.objects.get(number="S0000001")


@pytest.fixture
def other() -> Student:
    return Student.objects.get(number="S0000002")


@pytest.fixture(autouse=True)
def two_colleges() -> College:
    """The first student belongs to the principal's college, the second to another; both sit in one section."""
    make_terms()
    section = make_section(Term.objects.get(code="2026FA"))
    for student in make_students(2):
        operations.enroll(student, section)
    elsewhere = College.objects.create(code="LAW", name="Law")
    program = Program.objects.create(code="JD", name="Juris doctor", college=elsewhere)
    Student.objects.filter(number="S0000002").update(program=program)
    return College.objects.get(code="ENG")


@pytest.fixture
def principal(client: Client, two_colleges: College) -> Client:
    user = User.objects.create_user("pat", is_staff=True)
    user.groups.add(Group.objects.get(name=PRINCIPAL))
    CollegeMember.objects.create(user=user, college=two_colleges)
    client.force_login(user)
    return client


@pytest.mark.parametrize("query", ["", "?q=S0000002", "?q=S000000", "?status__exact=active", "?all="])
def test_lists_and_searches_show_the_own_alone(principal: Client, query: str) -> None:
    page = principal.get(f"{reverse('admin:registration_student_changelist')}{query}").content.decode()
    assert "S0000002</" not in page
    assert '">S0000002' not in page


def test_the_own_are_found(principal: Client, own: Student) -> None:
    assert own.number in principal.get("/admin/registration/student/?q=S0000001").content.decode()
    assert principal.get(own_page(own)).status_code == 200


def own_page(student: Student, page: str = "change") -> str:
    return reverse(f"admin:registration_student_{page}", args=[student.pk])


@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_no_address_leads_to_another(principal: Client, other: Student, page: str) -> None:
    answer = principal.get(own_page(other, page))
    assert answer.status_code in (302, 403, 404)
    assert other.family_name not in answer.content.decode()


@pytest.mark.parametrize("page", ["statement", "statement_csv"])
def test_no_statement_of_another_is_given(principal: Client, other: Student, page: str) -> None:
    address = reverse(f"admin:registration_student_{page}", args=[other.pk, "2026FA"])
    assert principal.get(address).status_code in (403, 404)


def test_enrollments_of_others_are_neither_listed_nor_opened(principal: Client, other: Student) -> None:
    listed = principal.get(reverse("admin:registration_enrollment_changelist")).content.decode()
    assert "S0000001" in listed
    assert "S0000002" not in listed
    row = Enrollment.objects.get(student=other)
    answer = principal.get(reverse("admin:registration_enrollment_change", args=[row.pk]))
    assert answer.status_code in (302, 404)


def test_fields_suggest_the_own_alone(principal: Client) -> None:
    asked = {"app_label": "registration", "model_name": "enrollment", "field_name": "student", "term": "S000"}
    answer = principal.get(reverse("admin:autocomplete"), asked)
    assert "S0000002" not in answer.content.decode()


def test_actions_do_nothing_to_others(principal: Client, other: Student) -> None:
    chosen = {"action": "graduate_selected", "_selected_action": [other.pk]}
    principal.post(reverse("admin:registration_student_changelist"), chosen)
    other.refresh_from_db()
    assert other.status == "active"


def test_a_principal_of_no_college_sees_nobody(principal: Client, own: Student) -> None:
    CollegeMember.objects.all().delete()
    assert own.number not in principal.get("/admin/registration/student/").content.decode()
    assert principal.get(own_page(own)).status_code in (302, 404)


def test_a_second_role_that_sees_everybody_sees_everybody(principal: Client, other: Student) -> None:
    User.objects.get(username="pat").groups.add(Group.objects.get(name=ADVISOR))
    assert principal.get(own_page(other)).status_code == 200
