"""The API's document as a page: everything of it from here, and each operation can be tried with a consumer's keys."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from apiauth.operations import create_consumer
from registration.api.docs import document
from tests.browser.conftest import Visit
from tests.university import make_terms

pytestmark = [pytest.mark.any_database, pytest.mark.timeout(180)]


def test_an_operation_is_tried_with_a_token_that_the_page_gets(visit: Visit) -> None:
    make_terms()
    made = create_consumer("Library", scopes=["calendar:read"])
    visitor = visit()
    visitor.open("/api/v1/docs/")
    page = visitor.page
    operations = [each for paths in document()["paths"].values() for each in paths.values()]
    expect(page.locator(".opblock")).to_have_count(len(operations))

    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".auth-container").filter(has_text="clientCredentials")
    dialog.get_by_label("client_id:").fill(made.consumer.client_id)
    dialog.get_by_label("client_secret:").fill(made.secret)
    dialog.locator("button.authorize[type=submit]").click()
    expect(dialog.get_by_text("Logout")).to_be_visible()
    dialog.locator("button.btn-done").click()

    terms = page.locator("#operations-terms-list_terms")
    terms.locator(".opblock-summary-control").click()
    expect(terms).to_contain_text("Scope: calendar:read")
    terms.get_by_role("button", name="Try it out").click()
    terms.get_by_role("button", name="Execute").click()
    expect(terms.locator(".live-responses-table tr.response .response-col_status")).to_contain_text("200")
    expect(terms.locator(".live-responses-table")).to_contain_text("2026FA")
