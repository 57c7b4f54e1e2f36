"""The picture in the README: the page of a held plan, on demo data.

`KEEP_SCREENSHOTS=docs ./matricula test tests/browser/test_readme_picture.py` makes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import expect
from pytest_httpserver import HTTPServer

from integrations.models import SyncRun
from integrations.operations import save_connection
from registration.demo import load_demo
from registration.models import Term
from tests.browser.conftest import GUARDS, Visit
from tests.browser.test_sync_flow import sync_now
from tests.browser.visitor import Look
from tests.integrations.feed import Feed, award

pytestmark = pytest.mark.any_database  # pixels

PICTURE = Look("readme", 1240, 900, "light")
MAX_PICTURE_BYTES = 150 * 1024
ROOT = Path(__file__).resolve().parents[2]
FUNDS = (
    {"code": "PELL", "name": "Federal Pell Grant", "type": "grant"},
    {"code": "STATE", "name": "State Opportunity Grant", "type": "grant"},
    {"code": "MERIT", "name": "Merit Scholarship", "type": "scholarship"},
)


def demo_award(number: int, term: str, amount: str) -> dict[str, object]:
    return award(number, term=term, amount=amount, fund=FUNDS[number % len(FUNDS)], id=f"AW-{26000 + number}")


def test_the_page_of_a_held_plan_fits_a_picture(visit: Visit, httpserver: HTTPServer, tmp_path: Path) -> None:
    load_demo(students=60, seed=1)
    term = Term.objects.get(is_current=True).code
    feed = Feed(httpserver)
    save_connection(feed.document(schedule="manual", guards=GUARDS))
    feed.awards = [demo_award(number, term, f"{900 + 75 * number}.00") for number in range(1, 41)]
    visitor = visit(look=PICTURE)
    sync_now(visitor, "Applied")
    feed.awards = [
        *(demo_award(number, term, f"{900 + 75 * number}.00") for number in range(1, 24)),
        *(demo_award(number, term, f"{1200 + 75 * number}.00") for number in range(24, 28)),
        *(demo_award(number, term, "1500.00") for number in range(41, 44)),
    ]
    sync_now(visitor, "Held")
    visitor.open(reverse("admin:integrations_syncrun_change", args=[SyncRun.objects.get(status="held").pk]))
    expect(visitor.text()).to_contain_text(re.compile(r"would void 13 of 40 live records"))
    assert visitor.look_at() == []

    picture = Path(os.environ.get("KEEP_SCREENSHOTS") or tmp_path) / "held-plan.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    visitor.page.screenshot(path=picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < MAX_PICTURE_BYTES


def test_the_readme_shows_the_picture() -> None:
    assert "](docs/held-plan.png)" in (ROOT / "README.md").read_text()
    assert 0 < (ROOT / "docs" / "held-plan.png").stat().st_size < MAX_PICTURE_BYTES
