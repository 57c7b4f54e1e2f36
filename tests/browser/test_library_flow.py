"""An enrollment in the admin is an account at the library seconds later, and each page about it is fit to be looked at."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from django.urls import reverse
from playwright.sync_api import Locator, expect
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.models import OutboxMessage
from integrations.operations import save_connection
from integrations.simulators.koha import Koha, connection_document
from registration.models import Student, Term
from tests.browser.conftest import WAIT_SECONDS, Visit
from tests.browser.test_pages import faults_in_every_look
from tests.integrations.simulated import simulated
from tests.university import make_section

# What passes through to the library, and back.
_FORWARDED = ("Authorization", "Content-Type", "x-koha-embed")


@pytest.fixture
def koha(students: list[Student], httpserver: HTTPServer) -> Iterator[Koha]:
    """A library at the one address that the installation may reach, and its connection."""
    with simulated("koha") as office:

        def pass_on(request: Request) -> Response:
            answer = requests.request(
                request.method,
                f"{office.url}{request.full_path}",
                headers={name: request.headers[name] for name in _FORWARDED if name in request.headers},
                data=request.get_data(),
                timeout=10,
            )
            return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

        httpserver.expect_request(re.compile("/api/v1/.*")).respond_with_handler(pass_on)
        save_connection(connection_document(httpserver.url_for("").rstrip("/")))
        assert isinstance(office.system, Koha)
        yield office.system


@pytest.mark.any_database
def test_an_enrollment_in_the_admin_is_an_account_at_the_library(
    visit: Visit, students: list[Student], koha: Koha
) -> None:
    section, student = make_section(Term.objects.get(code="2026FA")), students[0]
    visitor = visit()
    page = visitor.page
    add = reverse("admin:registration_enrollment_add")
    visitor.open(f"{add}?student={student.pk}&section={section.pk}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(re.compile(reverse("admin:registration_enrollment_changelist")))

    profile = reverse("admin:registration_student_change", args=[student.pk])
    visitor.open(profile)
    # A person loads the page again until the account is there.
    library = page.locator("#library")
    expect_after_reloading(visitor.open, profile, library, "Provisioned")
    expect(library).to_contain_text("promised within 1 hour")
    assert [patron["cardnumber"] for patron in koha.patrons.values()] == [student.number]

    faults = faults_in_every_look(visitor, "library-profile")
    visitor.open(reverse("admin:integrations_outboxmessage_changelist"))
    expect(page.locator("#result_list")).to_contain_text(str(student))
    faults += faults_in_every_look(visitor, "outbox")
    page.get_by_role("link", name=f"Message {OutboxMessage.objects.get().pk}").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Delivered")
    page.locator("summary", has_text="POST").first.click()
    faults += faults_in_every_look(visitor, "outbox-message")
    assert not faults, "\n".join(faults)


def expect_after_reloading(open_page: Callable[[str], None], path: str, place: Locator, words: str) -> None:
    """Open the page again until it says so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while words not in place.inner_text():
        assert time.monotonic() < deadline, f"{path} never said {words}."
        open_page(path)
