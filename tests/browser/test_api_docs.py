"""The API's document as a page: every operation is on it, and everything of it comes from here."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from registration.api.docs import document
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.any_database, pytest.mark.timeout(180)]


def test_every_operation_is_shown_and_nothing_is_asked_of_elsewhere(visit: Visit) -> None:
    """What the browser complains of, an address elsewhere among it, fails the test at its end."""
    visitor = visit()
    visitor.open("/api/v1/docs/")
    operations = [each for paths in document()["paths"].values() for each in paths.values()]
    expect(visitor.page.locator(".opblock")).to_have_count(len(operations))
    visitor.page.get_by_role("button", name="Authorize").first.click()
    expect(visitor.page.locator(".auth-container").filter(has_text="clientCredentials")).to_be_visible()
