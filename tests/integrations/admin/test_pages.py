"""The admin's pages: what they show, to whom, and that what changes something is a POST with a permission."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEvent
from integrations.models import Connection, Stream, SyncRun
from integrations.operations import save_connection
from integrations.presets import PRESETS
from registration.models import Enrollment, Student
from tests.integrations.conftest import Sync
from tests.integrations.feed import TOKEN, UNGUARDED, Feed, award
from tests.university import make_section

pytestmark = pytest.mark.django_db


def text_of(client: Client, url: str) -> str:
    """The words of a page, without its markup."""
    response = client.get(url)
    assert response.status_code == 200, url
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_the_front_page_says_pleasantly_that_nothing_is_needed(
    administrator: Client, sync: Sync, all_is_well: None
) -> None:
    sync()
    assert "Nothing needs you" in text_of(administrator, reverse("admin:index"))


def test_a_failure_is_on_the_front_page_with_a_link_to_its_run(
    administrator: Client, feed: Feed, sync: Sync, all_is_well: None
) -> None:
    feed.raw, feed.status = b"down", 503
    run = sync()
    page = administrator.get(reverse("admin:index")).content.decode()
    assert run.get_absolute_url() in page
    assert "503" in page
    feed.raw = None
    feed.status = 200
    sync()
    assert "Nothing needs you" in text_of(administrator, reverse("admin:index"))


def test_the_run_page_shows_figures_changes_and_rejections(
    administrator: Client, feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(1, amount="80.00"), award(3, amount="12,50"), award(99)]
    run = sync()
    words = text_of(administrator, run.get_absolute_url())
    assert "amount 100.00 USD → 80.00 USD" in words
    assert "S0000001" in words
    assert "missing from the feed" in words
    assert "There is no student with number S0000099" in words
    assert "12,50" in words  # the raw record, for those who may see it


def test_a_record_cannot_write_markup_into_the_page(administrator: Client, feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, fund={"code": "<script>alert(1)</script>", "name": "x", "type": "grant"})]
    feed.awards.append(award(2, amount="<script>alert(2)</script>"))
    run = sync()
    page = administrator.get(run.get_absolute_url()).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_pages_of_changes_are_reachable(administrator: Client, feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, id=f"B{number}") for number in range(120)]
    run = sync()
    assert "Page 1 of 3" in text_of(administrator, run.get_absolute_url())
    assert "B119#1" in text_of(administrator, f"{run.get_absolute_url()}?page=3")
    assert "No changes of this kind" in text_of(administrator, f"{run.get_absolute_url()}?action=void")


def test_sync_now_queues_a_run_and_links_to_it(
    administrator: Client, stream: Stream, django_capture_on_commit_callbacks: object
) -> None:
    response = administrator.post(reverse("admin:integrations_stream_sync", args=[stream.pk]), follow=True)
    run = SyncRun.objects.get()
    assert response.redirect_chain[0][0] == run.get_absolute_url()
    assert f"run {run.pk}" in response.content.decode()
    assert (run.status, run.trigger, run.started_by, run.is_dry_run) == ("queued", "admin", "ada", False)
    assert AuditEvent.objects.filter(action="sync_run.requested", actor_name="ada").exists()


def test_a_second_sync_now_leads_to_the_run_that_is_under_way(administrator: Client, stream: Stream) -> None:
    url = reverse("admin:integrations_stream_sync", args=[stream.pk])
    administrator.post(url)
    response = administrator.post(url, follow=True)
    assert SyncRun.objects.count() == 1
    assert "already" in response.content.decode()


def test_a_dry_run_is_marked_as_one(administrator: Client, stream: Stream) -> None:
    administrator.post(reverse("admin:integrations_stream_dry_run", args=[stream.pk]))
    assert SyncRun.objects.get().is_dry_run


@pytest.mark.parametrize(
    "name", ["integrations_stream_sync", "integrations_stream_dry_run", "integrations_connection_test"]
)
def test_what_starts_something_is_a_post_with_permission(
    name: str, stream: Stream, administrator: Client, advisor: Client, auditor: Client
) -> None:
    pk = stream.pk if "stream" in name else stream.connection_id
    url = reverse(f"admin:{name}", args=[pk])
    assert administrator.get(url).status_code == 405
    assert [client.post(url).status_code for client in (advisor, auditor)] == [403, 403]
    assert not SyncRun.objects.exists()


def test_the_test_button_shows_what_records_map_to_and_stores_nothing(
    administrator: Client, connection: Connection, feed: Feed
) -> None:
    feed.awards = [award(1)]
    response = administrator.post(reverse("admin:integrations_connection_test", args=[connection.pk]))
    page = response.content.decode()
    assert "works" in page
    assert "A0001" in page
    assert TOKEN not in page
    assert not SyncRun.objects.exists()


def test_the_test_button_says_what_is_wrong(
    administrator: Client, connection: Connection, feed: Feed
) -> None:
    feed.raw, feed.status = b"{}", 403
    response = administrator.post(reverse("admin:integrations_connection_test", args=[connection.pk]))
    assert "does not work yet" in response.content.decode()
    assert "read access" in response.content.decode()


def test_a_connection_is_added_by_its_document_and_its_faults_are_told(
    administrator: Client, connection: Connection, feed: Feed
) -> None:
    url = reverse("admin:integrations_connection_add")
    assert "aid.example.edu" in administrator.get(url).content.decode()
    page = administrator.post(
        url, {"document": json.dumps(feed.document(slug="other", every="day"))}
    ).content.decode()
    assert "every" in page
    assert not Connection.objects.filter(slug="other").exists()
    page = administrator.post(url, {"document": json.dumps(feed.document())}).content.decode()
    assert "There is a connection financial-aid already" in page
    replaced = json.dumps(feed.document(name="Aid, renamed"))
    administrator.post(url, {"document": replaced, "replaces": "on"})
    assert Connection.objects.get(slug="financial-aid").name == "Aid, renamed"
    response = administrator.post(url, {"document": json.dumps(feed.document(slug="other"))})
    assert response.status_code == 302
    assert Connection.objects.get(slug="other").streams.count() == 1


def test_no_page_shows_a_secret(administrator: Client, connection: Connection, sync: Sync) -> None:
    run = sync()
    pages = [
        reverse("admin:index"),
        reverse("admin:integrations_connection_changelist"),
        reverse("admin:integrations_connection_change", args=[connection.pk]),
        run.get_absolute_url(),
        reverse("admin:audit_auditevent_changelist"),
    ]
    assert [url for url in pages if TOKEN in administrator.get(url).content.decode()] == []


def test_deleting_a_connection_archives_it_and_keeps_its_history(
    administrator: Client, connection: Connection, feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1)]
    run = sync()
    url = reverse("admin:integrations_connection_delete", args=[connection.pk])
    administrator.get(url)
    administrator.post(url, {"post": "yes"})
    connection.refresh_from_db()
    assert connection.archived_at is not None
    assert SyncRun.objects.filter(pk=run.pk).exists()
    assert "Financial aid office" in text_of(administrator, run.get_absolute_url())


def test_the_profile_says_where_each_aid_entry_came_from(
    administrator: Client, advisor: Client, feed: Feed, sync: Sync, students: list[Student]
) -> None:
    feed.awards = [award(1), award(1, id="A9", state="accepted", amount="55.00")]
    run = sync()
    url = reverse("admin:registration_student_change", args=[students[0].pk])
    page = administrator.get(url).content.decode()
    assert run.get_absolute_url() in page
    assert "55.00 USD of aid anticipated" in page
    words = text_of(advisor, url)
    assert "-100.00 USD" in words
    assert f"Run {run.pk}" in words
    assert "Correct this record" not in words


def test_an_advisor_sees_runs_but_no_connection_and_starts_nothing(
    advisor: Client, connection: Connection, sync: Sync
) -> None:
    run = sync()
    assert advisor.get(run.get_absolute_url()).status_code == 200
    assert "Financial aid office" not in text_of(advisor, reverse("admin:index"))
    urls = [
        reverse("admin:integrations_connection_changelist"),
        reverse("admin:integrations_connection_change", args=[connection.pk]),
        reverse("admin:integrations_rejectedrecord_changelist"),
        reverse("admin:audit_auditevent_changelist"),
    ]
    assert {advisor.get(url).status_code for url in urls} == {403}


def test_every_page_of_the_side_bar_opens(administrator: Client, sync: Sync) -> None:
    sync()
    page = administrator.get(reverse("admin:index")).content.decode()
    links = set(re.findall(r'<li><a href="(/admin/[^"]+)"', page))
    assert len(links) >= 10
    assert {url: administrator.get(url).status_code for url in links} == dict.fromkeys(links, 200)


def test_pages_obey_the_strict_content_security_policy(administrator: Client, feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1), award(2, amount="x")]
    run = sync()
    for url in (reverse("admin:index"), run.get_absolute_url(), reverse("admin:integrations_connection_add")):
        response = administrator.get(url)
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        page = response.content.decode()
        assert not re.search(r"<[^>]+\sstyle=|\son[a-z]+=|<style|<script>", page), url


def test_enrolling_in_the_admin_is_the_operation_and_a_refusal_is_told(
    administrator: Client, students: list[Student], terms: tuple[object, object]
) -> None:
    section = make_section(terms[0], capacity=1)  # type: ignore[arg-type]
    url = reverse("admin:registration_enrollment_add")
    administrator.post(url, {"student": students[0].pk, "section": section.pk})
    assert Enrollment.objects.get().status == "enrolled"
    assert [event.action for event in AuditEvent.objects.filter(subject_type="registration.enrollment")] == [
        "enrollment.enrolled"
    ]
    response = administrator.post(url, {"student": students[0].pk, "section": section.pk}, follow=True)
    assert "already enrolled" in response.content.decode()
    assert Enrollment.objects.count() == 1


def test_dropping_and_coming_back_uses_the_same_row(
    administrator: Client, students: list[Student], terms: tuple[object, object]
) -> None:
    section = make_section(terms[0])  # type: ignore[arg-type]
    add = reverse("admin:registration_enrollment_add")
    administrator.post(add, {"student": students[0].pk, "section": section.pk})
    enrollment = Enrollment.objects.get()
    administrator.post(
        reverse("admin:registration_enrollment_changelist"),
        {"action": "drop_selected", "_selected_action": [enrollment.pk]},
    )
    enrollment.refresh_from_db()
    assert enrollment.status == "dropped"
    administrator.post(add, {"student": students[0].pk, "section": section.pk})
    enrollment.refresh_from_db()
    assert enrollment.status == "enrolled"


def test_a_correction_of_a_student_is_audited_by_field_and_without_values(
    administrator: Client, students: list[Student]
) -> None:
    student = students[0]
    form = {
        "number": student.number,
        "given_name": "Adah",
        "family_name": student.family_name,
        "email": "",
        "program": student.program_id,
        "status": student.status,
        "residency": student.residency,
    }
    administrator.post(reverse("admin:registration_student_change", args=[student.pk]), form)
    event = AuditEvent.objects.get(action="student.changed")
    assert event.detail == {"fields": ["Given name"]}
    assert event.actor_name == "ada"


def test_the_run_page_certifies_both_equations_in_records_and_in_money(
    administrator: Client, feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1), award(2), award(3)]
    sync()
    feed.awards = [award(1, amount="80.00"), award(2, state="cancelled"), award(4), award(5, amount="x")]
    words = text_of(administrator, sync().get_absolute_url())
    assert "4 read = 1 created + 1 modified + 1 cancelled + 1 rejected" in words
    assert "3 live before + 1 created - 2 voided = 2 live after" in words
    assert (
        "300.00 USD live before + 100.00 USD created - 20.00 USD by modification - 200.00 USD voided" in words
    )
    assert "= 180.00 USD live after" in words


@pytest.mark.parametrize(
    "document", ["[" * 50_000, '{"a":' * 900 + "1" + "}" * 900, "1" * 6000, "{", '"\\ud800"']
)
def test_whatever_is_pasted_is_answered_with_a_form_and_words(administrator: Client, document: str) -> None:
    response = administrator.post(reverse("admin:integrations_connection_add"), {"document": document})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()


@pytest.mark.parametrize("key", PRESETS)
def test_a_connection_starts_from_a_preset_that_syncs_nothing_by_itself(
    administrator: Client, key: str
) -> None:
    document = PRESETS[key].document
    assert document["schedule"] == "manual"
    assert document.get("guards") == {"first_load": "hold"} or "datasets" not in document
    add = reverse("admin:integrations_connection_add")
    assert f'href="?preset={key}"' in administrator.get(add).content.decode()
    page = administrator.get(add, {"preset": key})
    assert page.context["adminform"].form.initial["document"] == document
    answer = administrator.post(add, {"document": json.dumps(document)})
    connection = Connection.objects.get(slug=document["slug"])
    assert answer["Location"] == reverse("admin:integrations_connection_change", args=[connection.pk])
    assert not connection.streams.exclude(next_run_at=None).exists()


def test_another_interval_reaches_the_streams(administrator: Client, connection: Connection) -> None:
    url = reverse("admin:integrations_connection_change", args=[connection.pk])

    def hours_until_due(every_minutes: str) -> float | None:
        response = administrator.post(url, {"name": "Aid", "enabled": "on", "every_minutes": every_minutes})
        assert response.status_code == 302
        due = Stream.objects.get().next_run_at
        return None if due is None else round((due - timezone.now()).total_seconds() / 3600, 1)

    assert hours_until_due("") is None
    assert hours_until_due("1440") == 24.0
    assert hours_until_due("60") == 1.0
    page = administrator.post(url, {"name": "Aid", "enabled": "on", "every_minutes": "600000"})
    assert "at least once a year" in page.content.decode()
    page = administrator.post(url, {"name": "Aid", "enabled": "on", "every_minutes": "9223372036854775807"})
    assert "errorlist" in page.content.decode()
    assert Connection.objects.get().every_minutes == 60


def test_a_held_plan_on_the_front_page_waits_for_a_person(
    administrator: Client, feed: Feed, sync: Sync, connection: Connection
) -> None:
    save_connection(feed.document(guards={**UNGUARDED, "first_load": "hold"}))
    feed.awards = [award(1)]
    sync()
    assert "It waits for a person" in text_of(administrator, reverse("admin:index"))
