"""A sync as somebody in the office lives it: started, watched, read, decided on and taken back."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from integrations.models import Stream, SyncRun
from registration.models import Student
from tests.browser.conftest import WAIT_SECONDS, SlowFeed, Visit
from tests.browser.visitor import Visitor
from tests.integrations.feed import award

RUN_PAGE = re.compile(r"/admin/integrations/syncrun/\d+/change/$")


def test_a_sync_is_started_watched_and_read_down_to_the_student(
    visit: Visit, stream: Stream, feed: SlowFeed
) -> None:
    feed.awards = [award(number) for number in range(1, 5)]
    feed.hold(page=2)
    visitor = visit()
    page = visitor.page
    page.get_by_role("button", name="Sync now").click()
    expect(page).to_have_url(RUN_PAGE)
    expect(page.get_by_role("status")).to_have_text("Reading page 2 · 2 records")
    expect(page.locator("[aria-current=step]")).to_have_text("Reading")
    assert visitor.look_at() == []

    page.evaluate("window.isTheSamePage = true")
    feed.let_go()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Applied"))
    expect(page.locator(".tile", has_text="created")).to_contain_text("4")
    assert page.evaluate("window.isTheSamePage")  # it became that of the ended run without being loaded anew
    assert visitor.look_at() == []

    page.get_by_role("link", name="S0000003").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Okafor")
    expect(visitor.text()).to_contain_text("100.00 USD")
    page.get_by_role("link", name=f"Run {SyncRun.objects.get().pk}").first.click()
    expect(page).to_have_url(RUN_PAGE)


@pytest.mark.any_database
def test_nobody_asks_any_more_once_a_run_has_ended(visit: Visit, stream: Stream, feed: SlowFeed) -> None:
    feed.hold(page=1)
    visitor = visit()
    page = visitor.page
    page.get_by_role("button", name="Sync now").click()
    with page.expect_response(re.compile("/progress/")) as answer:
        pass
    assert answer.value.status in (200, 204)
    with page.expect_response(lambda answer: answer.status == 286):
        feed.let_go()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Applied"))
    assert page.locator("[hx-get]").count() == 0


@pytest.mark.any_database
def test_focus_stays_where_it_is_while_a_run_goes_on(visit: Visit, stream: Stream, feed: SlowFeed) -> None:
    feed.awards = [award(1), award(2), award(3)]
    feed.hold(page=1)
    visitor = visit()
    page = visitor.page
    page.get_by_role("button", name="Sync now").click()
    page.get_by_text("Cancel this run…").click()
    reason = page.get_by_label("Why cancel it?")
    reason.press_sequentially("It is the wr")
    height = page.locator(".live").bounding_box()
    feed.hold(page=2)
    feed.may_answer.set()
    feed.may_answer.clear()
    expect(page.get_by_role("status")).to_have_text("Reading page 2 · 2 records")
    expect(reason).to_be_focused()
    expect(reason).to_have_value("It is the wr")
    assert page.locator(".live").bounding_box() == height  # nothing has moved


@pytest.mark.any_database
def test_a_run_is_cancelled_while_it_reads(visit: Visit, stream: Stream, feed: SlowFeed) -> None:
    feed.awards = [award(1)]
    feed.hold(page=1)
    page = visit().page
    page.get_by_role("button", name="Sync now").click()
    page.get_by_text("Cancel this run…").click()
    page.get_by_label("Why cancel it?").fill("The wrong year")
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Cancelled"))
    expect(page.locator("#content")).to_contain_text("The wrong year")


@pytest.mark.any_database
def test_a_run_can_be_watched_without_scripts(visit: Visit, stream: Stream, feed: SlowFeed) -> None:
    feed.awards = [award(1)]
    feed.hold(page=1)
    page = visit(java_script_enabled=False).page
    page.get_by_role("button", name="Sync now").click()
    expect(page).to_have_url(RUN_PAGE)
    look_again_until(page, "Reading page 1 · 0 records")
    feed.let_go()
    look_again_until(page, "Applied")


@pytest.mark.any_database
def test_the_cards_of_today_follow_a_run_and_so_does_what_needs_somebody(
    visit: Visit, stream: Stream, feed: SlowFeed
) -> None:
    feed.awards = [award(1)]
    feed.status = 503
    feed.hold(page=1)
    page = visit().page
    page.get_by_role("button", name="Sync now").click()
    expect(page).to_have_url(RUN_PAGE)
    page.get_by_role("link", name="Today").first.click()
    card = page.locator(f"#stream-{stream.pk}")
    expect(card).to_contain_text("Reading page 1 · 0 records")
    dry_run = card.get_by_role("button", name="Dry run")
    dry_run.focus()
    feed.let_go()
    expect(card).to_contain_text("Failed")
    expect(dry_run).to_be_focused()
    expect(page.locator("#needs")).to_contain_text("503")


@pytest.mark.any_database
def test_who_was_signed_out_meanwhile_is_led_to_the_sign_in_page(
    visit: Visit, stream: Stream, feed: SlowFeed
) -> None:
    feed.hold(page=1)
    visitor = visit()
    page = visitor.page
    page.get_by_role("button", name="Sync now").click()
    expect(page).to_have_url(RUN_PAGE)
    visitor.context.clear_cookies()
    expect(page.get_by_label("Password")).to_be_visible()
    assert all("403" in fault for fault in visitor.faults)
    visitor.faults.clear()


@pytest.fixture
def held(visit: Visit, stream: Stream, feed: SlowFeed) -> Visitor:
    """Somebody at the page of a plan that is held: eleven of eleven awards would go."""
    feed.awards = [award(number) for number in range(1, 12)]
    visitor = visit()
    sync_now(visitor, "Applied")
    feed.awards = [award(12)]
    sync_now(visitor, "Held")
    return visitor


def test_a_held_plan_is_approved_and_undone(held: Visitor, feed: SlowFeed) -> None:
    page = held.page
    expect(held.text()).to_contain_text("would void 11")
    assert held.look_at() == []
    page.get_by_label("Your reason, kept with the run").fill("The aid office called")
    page.get_by_role("button", name="Approve all").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Applied"))
    assert live_aid() == {"S0000012": 100_00}

    page.get_by_role("link", name="Undo…").click()
    assert held.look_at() == []
    page.get_by_label("Your reason, kept with the run").fill("The aid office was wrong")
    page.get_by_role("button", name="Undo what is ticked").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Applied"))
    expect(held.text()).to_contain_text("This run took back")
    assert live_aid() == {f"S{number:07d}": 100_00 for number in range(1, 12)}


def look_again_until(page: Page, words: str) -> None:
    """Follow the link until the page says so: what a person does where nothing moves by itself."""
    deadline = time.monotonic() + WAIT_SECONDS
    while words not in page.locator("#content").inner_text():
        assert time.monotonic() < deadline, f"The page never said {words}."
        page.get_by_role("link", name="Look again").click()


def sync_now(visitor: Visitor, ending: str) -> None:
    """Start a sync from the front page and watch it to its end."""
    visitor.open("/admin/")
    visitor.page.get_by_role("button", name="Sync now").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text(re.compile(ending))


def live_aid() -> dict[str, int]:
    """What aid is on the bills, by student, in cents."""
    totals = {
        student.number: student.billing_account.totals().posted_aid for student in Student.objects.all()
    }
    return {number: aid for number, aid in totals.items() if aid}
