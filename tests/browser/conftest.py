"""Browsers for the tests, and what is kept when a test fails."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from apiauth.models import User
from integrations.models import Connection, Stream
from integrations.operations import save_connection
from registration.models import Student
from tests.browser.installation import Installation, running
from tests.browser.visitor import LIGHT, Look, Visitor
from tests.integrations.feed import UNGUARDED, Feed
from tests.university import make_students, make_terms

PASSWORD = "correct-horse-battery-9"
WAIT_SECONDS = 20
GUARDS = {**UNGUARDED, "max_void_share": 0.1, "max_void_count": 10}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page or the browser itself wants of another machine: it has no address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# Signs a person of this role in, in a window of this look.
Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def installation(
    django_db_setup: None,
    django_db_blocker: Any,
    make_httpserver: HTTPServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    reachable = f"{make_httpserver.host}:{make_httpserver.port}"
    with running(tmp_path_factory.mktemp("installation"), reachable) as started:
        yield started


@pytest.fixture(scope="module")
def browser(installation: Installation) -> Iterator[Browser]:
    """Debian's Chromium with a profile of its own, empty at every start.

    For the length of a module, as playwright leaves an event loop in this thread, and Django refuses its ORM there
    unless told that nothing of it runs inside that loop. That must not reach other tests.
    """
    program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    assert program, "There is no Chromium on this machine: apt install chromium"
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=WAIT_SECONDS * 1000)
        launched = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def visit(
    browser: Browser, installation: Installation, transactional_db: None, request: pytest.FixtureRequest
) -> Iterator[Visit]:
    """Open a window and sign somebody in. At the end, whatever a browser complained of fails the test."""
    visitors: list[Visitor] = []
    request.node.stash[_VISITORS] = (visitors, installation)
    with ExitStack() as windows:

        def arrive(role: str | None = "Administrator", look: Look = LIGHT, **options: Any) -> Visitor:
            context = browser.new_context(**look.options, **options)
            windows.callback(context.close)
            context.set_default_timeout(WAIT_SECONDS * 1000)
            visitor = Visitor(context, installation.address)
            visitors.append(visitor)
            if role:
                visitor.sign_in(person(role).username, PASSWORD)
            return visitor

        yield arrive
    faults = [fault for visitor in visitors for fault in visitor.faults]
    assert not faults, "\n".join(faults)


def person(role: str) -> User:
    """Whoever has this role; the first to ask makes them."""
    user, is_new = User.objects.get_or_create(
        username=role.lower(), defaults={"email": f"{role.lower()}@example.edu", "is_staff": True}
    )
    if is_new:
        user.set_password(PASSWORD)
        user.save()
        user.groups.add(Group.objects.get(name=role))
    return user


# --- the aid office ---------------------------------------------------------------------------------------


class SlowFeed(Feed):
    """An aid office whose answer to one page is held back until the test lets it go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.held_page = 0
        self.may_answer = threading.Event()
        self.answer = self._answer_in_time

    def hold(self, page: int) -> None:
        self.held_page = page
        self.may_answer.clear()

    def let_go(self) -> None:
        self.may_answer.set()

    def _answer_in_time(self, request: Request) -> Response:
        if int(request.args.get("page", 1)) == self.held_page:
            self.may_answer.wait(WAIT_SECONDS)
        self.answer = None
        try:
            return self._answer(request)
        finally:
            self.answer = self._answer_in_time


@pytest.fixture
def students(transactional_db: None) -> list[Student]:
    make_terms()
    return make_students(12)


@pytest.fixture
def feed(httpserver: HTTPServer) -> Iterator[SlowFeed]:
    feed = SlowFeed(httpserver, page_size=2)
    yield feed
    feed.let_go()


@pytest.fixture
def connection(students: list[Student], feed: SlowFeed) -> Connection:
    return save_connection(feed.document(schedule="manual", guards=GUARDS))[0]


@pytest.fixture
def stream(connection: Connection) -> Stream:
    return connection.streams.get()


# --- what is kept of a failure ----------------------------------------------------------------------------

_VISITORS = pytest.StashKey[tuple[list[Visitor], Installation]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when == "call" and (visited := item.stash.get(_VISITORS, None)):
        visitors, installation = visited
        folder = Path(item.funcargs.get("tmp_path", installation.logs))  # type: ignore[attr-defined]
        pictures = [folder / f"{item.name}-{place}.png" for place in range(len(visitors))]
        for visitor, picture in zip(visitors, pictures, strict=True):
            visitor.keep_picture(picture)
        kept = [*pictures, *sorted(installation.logs.glob("*.log"))]
        report.sections.append(("what the browser showed, and the logs", "\n".join(map(str, kept))))
    return report
