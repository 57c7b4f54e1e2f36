"""The trail's pages: found by whom, what, when and which words, without a count of the table; exported harmlessly."""

from __future__ import annotations

import csv
import datetime
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from apiauth.models import User
from audit import search
from audit.exports import harmless
from audit.models import AuditEvent
from audit.sealing import seal_events
from audit.search import Search, find_all, find_page
from tests.audit.trail import NOON, write
from tests.university import make_students, make_terms

pytestmark = pytest.mark.django_db
LIST = "admin:audit_auditevent_changelist"


def staff_in(role: str) -> User:
    user = User.objects.create_user(role.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def auditor(client: Client) -> Client:
    client.force_login(staff_in("Auditor"))
    return client


def found(**parts: str) -> list[int]:
    return sorted(event.pk for event in find_page(Search.from_query(parts)).events)


# --- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        {"actor": "ada"},
        {"action": "enrollment.dropped"},
        {"subject": "registration.enrollment:77"},
        {"since": "2026-09-02", "until": "2026-09-02"},
        {"since": "2026-09-02T06:00:00", "until": "2026-09-02T18:00:00"},
        {"q": "by POST"},
        {"q": "S0000042"},
        {"q": "10.1.2.3"},
        {"actor": "ada", "action": "enrollment.dropped", "q": "post", "since": "2026-09-02"},
    ],
)
def test_an_event_is_found_by_each_of_its_parts(parts: dict[str, str]) -> None:
    write(3)
    wanted = write(
        1,
        start=NOON + datetime.timedelta(days=1),
        actor_name="ada",
        action="enrollment.dropped",
        subject_type="registration.enrollment",
        subject_id="77",
        reason="Asked by post",
        detail={"student": "S0000042"},
        address="10.1.2.3",
    )
    write(2, start=NOON + datetime.timedelta(days=2))
    assert found(**parts) == wanted


@pytest.mark.parametrize(
    "parts",
    [
        {"actor": "ad"},
        {"q": "50%"},
        {"q": "_"},
        {"q": "'; --"},
        {"since": "2026-09-03"},
        {"until": "2026-08-31"},
        {"of": "registration.student:1"},
        {"of": "nothing"},
        {"of": "apiauth.user:x"},
        {"since": "soon"},
        {"until": "2026-13-45"},
        {"since": "9999-12-31", "until": "9999-12-31"},
        {"before": "9" * 40},
        {"q": "\x00"},
    ],
)
def test_what_finds_nothing_or_is_odd_breaks_nothing(auditor: Client, parts: dict[str, str]) -> None:
    write(2, actor_id="7", request_id="f" * 32)
    answer = auditor.get(reverse(LIST), parts)
    assert answer.status_code == 200
    if set(parts) & {"actor", "of"} or (parts.get("q", "x") not in ("\x00", "_") and "q" in parts):
        assert "user.changed" not in answer.content.decode()


def test_a_day_that_is_none_is_told_in_words(auditor: Client) -> None:
    assert (
        "soon is no day: write it as 2026-01-31."
        in auditor.get(reverse(LIST), {"since": "soon"}).content.decode()
    )


def page_by_page(search: Search) -> list[int]:
    """The ids of everything that is found, in the order of the pages."""
    seen: list[int] = []
    before = None
    while True:
        page = find_page(search, before=before, size=5)
        seen += [event.pk for event in page.events]
        if page.older is None:
            return seen
        before = page.older


def test_pages_follow_each_other_without_a_gap_or_a_double() -> None:
    pks = write(23)
    assert page_by_page(Search()) == pks[::-1]


@pytest.mark.parametrize("text", ["", "phone"])
def test_pages_that_go_back_by_time_do_too_whatever_the_ids_and_however_many_at_one_moment(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A search with an end goes by time: a late commit has a higher id and an earlier time than its neighbours."""
    monkeypatch.setattr(search, "LOOKED_OVER", 7)
    early = write(6, start=NOON, first_id=900)
    at_once = [
        write(1, start=NOON + datetime.timedelta(minutes=1), first_id=200 + place)[0] for place in range(9)
    ]
    late = write(6, start=NOON + datetime.timedelta(hours=1), first_id=100)
    write(3, start=NOON + datetime.timedelta(days=2), first_id=50)
    asked = Search(text=text, until=f"{NOON:%Y-%m-%d}")
    assert page_by_page(asked) == [*late[::-1], *at_once[::-1], *early[::-1]]
    assert page_by_page(Search(text=text, since=f"{NOON:%Y-%m-%d}")) == sorted(
        [*early, *at_once, *late, 50, 51, 52], reverse=True
    )


def test_a_page_that_would_begin_at_an_event_that_is_gone_is_empty_and_no_fault(auditor: Client) -> None:
    write(3)
    assert auditor.get(reverse(LIST), {"until": "2030-01-01", "before": "999999"}).status_code == 200


@pytest.mark.parametrize("text", ["", "phone"])
def test_a_trail_of_several_conditions_is_one_list_and_each_condition_is_asked_by_its_index(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(search, "LOOKED_OVER", 7)
    make_terms()
    (student,) = make_students(1)
    about = {"subject_type": "registration.student", "subject_id": str(student.pk)}
    expected = []
    for place in range(12):  # about the student, naming the student, and both
        values: dict[str, Any] = about if place % 3 != 1 else {}
        detail = {"student": student.number if place % 3 else "S9999999"}
        expected += [write(1, **{"subject_id": "x", **values, "detail": detail})[0] for _ in range(2)]
        write(1, subject_id="another", detail={"student": "S8888888"})
    with CaptureQueriesContext(connection) as asked:
        assert page_by_page(Search(text=text, of=f"registration.student:{student.pk}")) == expected[::-1]
    statements = [each["sql"] for each in asked.captured_queries if 'FROM "audit_auditevent"' in each["sql"]]
    alternatives = [sql for sql in statements if " OR " in sql.upper()]
    assert not text or alternatives  # the columns that a text may stand in
    assert text or alternatives == []


def test_free_text_is_looked_for_in_steps_and_the_page_says_how_far(
    monkeypatch: pytest.MonkeyPatch, auditor: Client
) -> None:
    monkeypatch.setattr(search, "LOOKED_OVER", 10)
    (oldest,) = write(1, reason="the needle")
    write(24, start=NOON + datetime.timedelta(minutes=1))
    page = find_page(Search(text="needle"))
    assert (page.events, page.looked_to is None) == ([], False)
    said = auditor.get(reverse(LIST), {"q": "needle"}).content.decode()
    assert "Look further back" in said
    assert [event.pk for event in find_all(Search(text="needle"), limit=100)] == [oldest]


@pytest.mark.parametrize(
    "parts",
    [{}, {"actor": "rita"}, {"action": "user.changed"}, {"q": "phone"}, {"subject": "apiauth.user:3"}],
)
def test_a_page_counts_nothing_and_asks_the_same_few_questions_however_large_the_trail(
    auditor: Client, parts: dict[str, str]
) -> None:
    write(120)
    with CaptureQueriesContext(connection) as asked:
        assert auditor.get(reverse(LIST), parts).status_code == 200
    statements = [each["sql"] for each in asked.captured_queries if "audit_" in each["sql"]]
    assert len(statements) <= 3
    assert not any(
        "COUNT(" in statement.upper() or "OFFSET 1" in statement
        for statement in statements
        if not parts.get("q")
    )
    if connection.vendor == "sqlite" and set(parts) & {"actor", "action", "subject"}:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + next(sql for sql in statements if "LIMIT 51" in sql))
            plan = str(cursor.fetchall())
        assert "USING INDEX audit_event_" in plan


# --- the trail of somebody ----------------------------------------------------------------------------------


def test_a_student_s_page_leads_to_their_trail(client: Client) -> None:
    client.force_login(staff_in("Administrator"))
    make_terms()
    student, other = make_students(2)
    audit.record("enrollment.dropped", User(pk=5), reason="theirs", detail={"student": student.number})
    audit.record("enrollment.dropped", User(pk=6), reason="another's", detail={"student": other.number})
    page = client.get(reverse("admin:registration_student_change", args=[student.pk])).content.decode()
    address = f"{reverse(LIST)}?of=registration.student%3A{student.pk}"
    assert f'href="{address}"' in page
    shown = client.get(address).content.decode()
    assert "theirs" in shown
    assert "another" not in shown


def test_the_page_shows_what_is_sealed_and_what_is_not_yet(auditor: Client) -> None:
    write(1)
    seal_events()
    write(1, start=NOON + datetime.timedelta(minutes=1))
    said = auditor.get(reverse(LIST)).content.decode()
    assert (said.count(">Sealed<"), said.count(">Not yet<")) == (1, 1)
    event = AuditEvent.objects.order_by("id").first()
    assert event is not None
    assert (
        "at position 1"
        in auditor.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    )


# --- export -----------------------------------------------------------------------------------------------

EVIL = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", "\uff1d1"]


def export(client: Client, form: str, **parts: str) -> str:
    answer: Any = client.post(reverse("admin:audit_auditevent_export", args=[form]), parts)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


@pytest.mark.parametrize("cell", EVIL)
def test_no_cell_is_a_formula_to_a_spreadsheet(auditor: Client, cell: str) -> None:
    write(1, reason=cell, actor_name=cell)
    seal_events()
    (row,) = csv.DictReader(io.StringIO(export(auditor, "csv", action="user.changed"), newline=""))
    assert (row["reason"], row["actor_name"]) == (f"'{cell}", f"'{cell}")
    assert row["position"] == "1"
    assert harmless("plain =1") == "plain =1"


def test_json_lines_say_it_as_it_is(auditor: Client) -> None:
    pks = write(3, reason="=1", detail={"deep": [1, {"ü": None}]})
    lines = [json.loads(line) for line in export(auditor, "jsonl", q="=1").splitlines()]
    assert [line["id"] for line in lines] == pks[::-1]
    assert (lines[0]["reason"], lines[0]["detail"], lines[0]["position"]) == (
        "=1",
        {"deep": [1, {"ü": None}]},
        None,
    )


def test_an_export_is_bounded_and_takes_what_the_search_finds() -> None:
    write(30)
    assert len(list(find_all(Search(), limit=12))) == 12
    assert len(list(find_all(Search(actor="nobody"), limit=12))) == 0


def test_an_export_is_on_the_trail_without_the_words_that_were_looked_for(auditor: Client) -> None:
    export(auditor, "csv", q="Okafor")
    event = AuditEvent.objects.get(action="audit_trail.exported")
    assert (event.actor_name, event.detail) == ("auditor", {"form": "csv", "searched_by": ["q"]})


@pytest.mark.parametrize(
    ("role", "status"), [("Administrator", 200), ("Auditor", 200), ("Advisor", 403), ("Principal", 403)]
)
def test_the_trail_is_exported_by_those_whose_work_it_is(client: Client, role: str, status: int) -> None:
    client.force_login(staff_in(role))
    assert client.post(reverse("admin:audit_auditevent_export", args=["csv"])).status_code == status


def test_an_export_is_asked_for_by_post_in_a_form_that_there_is(auditor: Client) -> None:
    assert auditor.get(reverse("admin:audit_auditevent_export", args=["csv"])).status_code == 405
    assert auditor.post(reverse("admin:audit_auditevent_export", args=["xlsx"])).status_code == 404
    assert not AuditEvent.objects.exists()
