"""Who works by keys gets everywhere by them, and nobody is surprised by them while typing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.any_database


def wait_until_heard(page: Page) -> None:
    """The script of a new page shows the button once it listens."""
    expect(page.get_by_role("button", name="Keys")).to_be_visible()


def test_keys_lead_to_the_search_to_pages_and_to_their_list(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    wait_until_heard(page)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("g r?/")  # a word that is looked for, and no key
    expect(page.get_by_role("searchbox")).to_have_value("g r?/")
    page.get_by_role("heading", name="Today").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert not visitor.look_at()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page).to_have_url(re.compile(r"/syncrun/$"))
    wait_until_heard(page)
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()


def test_keys_can_be_switched_off_and_lead_nowhere_that_is_not_one_s_own(visit: Visit) -> None:
    advisor = visit("Advisor").page
    wait_until_heard(advisor)
    advisor.keyboard.press("?")
    expect(advisor.get_by_role("link", name="Connections")).to_have_count(0)
    advisor.get_by_role("checkbox").check()
    advisor.keyboard.press("Escape")
    advisor.keyboard.press("/")
    expect(advisor.get_by_role("searchbox")).not_to_be_focused()
