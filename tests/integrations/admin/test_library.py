"""The library on the student's profile, the outbox's pages, and who may do what there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apiauth.models import User
from integrations.alerts import open_incident
from integrations.models import DeliveryPause, OutboxMessage
from registration import operations
from registration.models import Enrollment, LibraryAccount, Section, Student, Term
from registration.operations.library import accounts_ending, checksum_of
from tests.integrations.conftest import signed_in
from tests.integrations.library import Library, drain, end_grace, library
from tests.university import make_section, make_students

pytestmark = pytest.mark.django_db


@pytest.fixture
def section(terms: tuple[Term, Term]) -> Section:
    return make_section(terms[0], capacity=100)


@pytest.fixture
def books() -> Iterator[Library]:
    with library() as books:
        yield books


@pytest.fixture
def failed(students: list[Student], section: Section, books: Library) -> OutboxMessage:
    """A message that failed for good: the card is somebody else's."""
    books.koha.add(cardnumber="S0000001", surname="Smith")
    operations.enroll(students[0], section)
    drain()
    return OutboxMessage.objects.get()


def profile(client: Client, student: Student) -> str:
    return client.get(reverse("admin:registration_student_change", args=[student.pk])).content.decode()


def say(client: Client, name: str, *arguments: object, **form: str) -> str:
    answer = client.post(
        reverse(f"admin:integrations_outboxmessage_{name}", args=arguments), form, follow=True
    )
    return answer.content.decode() if answer.status_code == 200 else str(answer.status_code)


def test_the_profile_says_how_the_account_stands_and_how_long_it_took(
    students: list[Student], section: Section, books: Library, administrator: Client
) -> None:
    assert "never was a library account" in profile(administrator, students[0])
    operations.enroll(students[0], section)
    page = profile(administrator, students[0])
    assert ">Pending<" in page
    assert "promised by" in page
    drain()
    page = profile(administrator, students[0])
    assert ">Provisioned<" in page
    assert f"Patron 51 there, until {LibraryAccount.objects.get().expires_on:%Y-%m-%d}." in page
    assert "confirmed after" in page
    assert "POST → 201" in page
    assert "No connection to the library" not in page


def test_without_a_connection_the_profile_says_so(
    students: list[Student], section: Section, administrator: Client
) -> None:
    operations.enroll(students[0], section)
    assert "No connection to the library is set up" in profile(administrator, students[0])


def test_a_failure_is_told_on_the_profile_with_its_retry(
    students: list[Student], failed: OutboxMessage, administrator: Client
) -> None:
    page = profile(administrator, students[0])
    assert ">Failed<" in page
    assert "belongs to somebody else at the library" in page
    assert reverse("admin:integrations_outboxmessage_retry", args=[failed.pk]) in page


def test_a_message_shows_each_attempt_masked(failed: OutboxMessage, administrator: Client) -> None:
    page = administrator.get(failed.get_absolute_url()).content.decode()
    assert "It failed as often as it is tried" in page
    assert "Sent, masked" in page
    assert "&quot;cardnumber&quot;: &quot;S0000001&quot;" in page
    assert [
        word for word in ("Smith", "Okafor", "sim-token") if word in page.partition("Attempts</h2>")[2]
    ] == []


def test_the_list_names_whom_each_message_is_about_and_costs_as_much_for_many_as_for_few(
    students: list[Student], section: Section, books: Library, administrator: Client
) -> None:
    listed = reverse("admin:integrations_outboxmessage_changelist")

    def look() -> tuple[str, int]:
        with CaptureQueriesContext(connection) as statements:
            page = administrator.get(listed).content.decode()
        return page, len(statements)

    operations.enroll(students[0], section)
    _, for_one = look()
    for student in students[1:]:
        operations.enroll(student, section)
    page, for_twelve = look()
    address = reverse("admin:registration_student_change", args=[students[3].pk])
    assert f'<a href="{address}#library">{students[3]}</a>' in page
    assert "library:" not in page
    assert for_twelve == for_one
    alert = open_incident("disk", title="The disk is low", text="It is low.")
    OutboxMessage.objects.filter(subject=f"library:{students[0].pk}").update(payload={"alert": alert.pk})
    assert f'<a href="{alert.page}">The disk is low</a>' in look()[0]


def test_who_may_not_see_students_sees_a_number_and_no_link(
    students: list[Student], failed: OutboxMessage
) -> None:
    client = signed_in("otto", role="Auditor")
    user = User.objects.get(username="otto")
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="view_outboxmessage"))
    for page in (reverse("admin:integrations_outboxmessage_changelist"), failed.get_absolute_url()):
        shown = client.get(page).content.decode()
        assert students[0].number in shown
        assert students[0].family_name not in shown


def test_retrying_one_selected_or_all(
    students: list[Student], failed: OutboxMessage, books: Library, administrator: Client
) -> None:
    assert "is due now" in say(administrator, "retry", failed.pk, reason="corrected")
    drain()
    listed = reverse("admin:integrations_outboxmessage_changelist")
    form = {"action": "retry_selected", "_selected_action": str(failed.pk)}
    assert "1 messages are due now" in administrator.post(listed, form, follow=True).content.decode()
    drain()
    books.koha.patrons.clear()
    assert "1 messages are due now" in say(administrator, "retry_failed", reason="corrected")
    drain()
    assert LibraryAccount.objects.get().status == "provisioned"
    assert "there is nothing to retry" in say(administrator, "retry", failed.pk)


def test_pausing_and_resuming(failed: OutboxMessage, books: Library, administrator: Client) -> None:
    pk = books.connection.pk
    assert "Say why" in say(administrator, "control", pk, "pause", reason="")
    assert "the library moves" in say(administrator, "control", pk, "pause", reason="the library moves")
    assert DeliveryPause.objects.get().paused_by == "ada"
    assert "go on" in say(administrator, "control", pk, "resume")
    assert not DeliveryPause.objects.exists()


def test_provisioning_and_de_provisioning_by_hand(
    students: list[Student], books: Library, administrator: Client
) -> None:
    student = students[0]
    assert "Say why" in say(administrator, "library", student.pk, "provision", reason="")
    page = say(administrator, "library", student.pk, "provision", reason="visiting scholar")
    assert "Provisioned by hand by ada" in page
    assert "visiting scholar" in page
    drain()
    assert books.cards == ["S0000001"]
    say(administrator, "library", student.pk, "deprovision", reason="has left")
    drain()
    assert books.has_expired("S0000001")
    say(administrator, "library", student.pk, "follow", reason="as everybody")
    assert LibraryAccount.objects.get().override == ""


def test_the_sweep_that_is_held_is_looked_at_and_approved(
    section: Section, books: Library, administrator: Client
) -> None:
    students = make_students(15)
    Enrollment.objects.bulk_create(
        Enrollment(student=student, section=section, status_since_at=timezone.now()) for student in students
    )
    drain()
    Enrollment.objects.update(status="dropped")
    drain()
    end_grace()
    drain()
    page = reverse("admin:registration_libraryaccount_sweep")
    assert "End these 15 accounts" in administrator.get(page).content.decode()
    listed = administrator.get(reverse("admin:registration_libraryaccount_changelist")).content.decode()
    assert page in listed
    wrong = administrator.post(page, {"checksum": "0", "reason": "gone"}, follow=True)
    assert "others by now" in wrong.content.decode()
    form = {"checksum": checksum_of(accounts_ending()), "reason": "they have left"}
    assert "asked to end 15 accounts" in administrator.post(page, form, follow=True).content.decode()
    drain()
    assert set(LibraryAccount.objects.values_list("status", flat=True)) == {"deprovisioned"}


def test_whoever_may_only_look_changes_nothing(
    students: list[Student], failed: OutboxMessage, books: Library, auditor: Client, advisor: Client
) -> None:
    assert auditor.get(failed.get_absolute_url()).status_code == 200
    assert advisor.get(failed.get_absolute_url()).status_code == 403
    assert "Library</h2>" in profile(advisor, students[0])
    assert "by hand</summary>" not in profile(advisor, students[0])
    for client in (auditor, advisor):
        assert say(client, "retry", failed.pk) == "403"
        assert say(client, "retry_failed") == "403"
        assert say(client, "control", books.connection.pk, "pause", reason="x") == "403"
        assert say(client, "library", students[0].pk, "provision", reason="x") == "403"
        page = reverse("admin:registration_libraryaccount_sweep")
        assert client.post(page, {"checksum": "", "reason": "x"}).status_code == 403
    assert LibraryAccount.objects.get().override == ""


def test_nothing_is_done_by_looking(
    students: list[Student], failed: OutboxMessage, administrator: Client
) -> None:
    for name, arguments in (
        ("retry", [failed.pk]),
        ("retry_failed", []),
        ("control", [failed.connection_id, "pause"]),
        ("library", [students[0].pk, "provision"]),
    ):
        address = reverse(f"admin:integrations_outboxmessage_{name}", args=arguments)
        assert administrator.get(address).status_code == 405


def test_students_graduate_from_the_list(
    students: list[Student], section: Section, administrator: Client
) -> None:
    operations.enroll(students[0], section)
    form = {"action": "graduate_selected", "_selected_action": [students[0].pk]}
    answer = administrator.post(reverse("admin:registration_student_changelist"), form, follow=True)
    assert "1 graduated" in answer.content.decode()
    assert LibraryAccount.objects.get().grace_ends_at is not None
