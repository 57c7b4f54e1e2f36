"""The commands: what they print, the one JSON value that programs read, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.core.management import call_command, load_command_class
from django.db import connection as database

from apiauth.models import User
from audit.immutability import RefuseChanges
from audit.models import AuditEvent
from integrations.models import Connection, RunLease, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import archive_connection, request_run
from integrations.simulators.aid import TOKEN as SIMULATOR_TOKEN
from integrations.sync.lease import take
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import EntryKind
from registration.operations import Line, post, void
from tests.database_roles import as_owner
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import UNGUARDED, Feed, award, fund, may_reach
from tests.refusals import execute, refusals_in_migrations

ROOT = Path(__file__).resolve().parents[2]
PROMISED = ["run", "status", "read", "created", "modified", "voided", "unchanged", "rejected", "held", "sums"]
PROMISED += ["seconds", "reason"]
COUNTS = PROMISED[2:9]


class Said(NamedTuple):
    status: int
    data: Any
    err: str


Manage = Callable[..., Said]


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str]) -> Manage:
    """Run `manage.py ... --json` here and return its exit status and the one value on its stdout."""

    def run(command: str, *arguments: str) -> Said:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("integrations", command).run_from_argv(
                ["manage.py", command, *arguments, "--json"]
            )
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return Said(status, json.loads(out), err)

    return run


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command for people: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        try:
            call_command(*arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        return (status, *capsys.readouterr())

    return run


# --- sync -------------------------------------------------------------------------------------------------


def test_sync_applies_and_reports_every_promised_key(
    feed: Feed, connection: Connection, manage: Manage
) -> None:
    feed.awards = [award(1), award(2, amount="0.01"), award(3, amount="x"), award(1)]
    said = manage("sync", "financial-aid")
    assert said.status == 0
    assert set(PROMISED) <= set(said.data)
    run = SyncRun.objects.get()
    assert said.data["run"] == run.pk
    assert said.data["status"] == "applied"
    assert {name: said.data[name] for name in COUNTS} == {
        "read": 4,
        "created": 2,
        "modified": 0,
        "voided": 0,
        "unchanged": 0,
        "rejected": 1,
        "held": 0,
    }
    assert said.data["sums"]["currency"] == "USD"
    assert said.data["sums"]["created"] == "100.01"
    assert isinstance(said.data["seconds"], float)
    assert said.data["reason"] == ""
    assert "planned" not in said.data
    assert (run.trigger, run.started_by) == ("command", "command: sync")
    assert AuditEvent.objects.about(run).first().actor_kind == "command"  # type: ignore[union-attr]


def test_sync_with_nothing_to_do_is_applied_too(feed: Feed, connection: Connection, manage: Manage) -> None:
    feed.awards = [award(1)]
    manage("sync", "financial-aid")
    said = manage("sync", "financial-aid", "--dataset", "aid_awards")
    assert (said.status, said.data["status"], said.data["unchanged"]) == (0, "applied", 1)


def test_sync_that_is_held_exits_2_and_plans_with_the_same_keys(
    feed: Feed, load: Load, manage: Manage
) -> None:
    load(guards={**UNGUARDED, "first_load": "hold"})
    feed.awards = [award(1), award(2, amount="x")]
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["status"]) == (2, "held")
    assert set(PROMISED) <= set(said.data)
    assert set(COUNTS) <= set(said.data["planned"])
    assert (said.data["planned"]["created"], said.data["created"]) == (1, 0)
    assert (said.data["planned"]["rejected"], said.data["rejected"]) == (1, 1)
    assert "first load" in said.data["reason"]
    assert not LedgerEntry.objects.exists()


def test_a_dry_run_exits_0_or_2_where_it_would_be_held(feed: Feed, load: Load, manage: Manage) -> None:
    feed.awards = [award(1)]
    said = manage("sync", "financial-aid", "--dry-run")
    assert (said.status, said.data["status"], said.data["reason"]) == (0, "previewed", "")
    assert (said.data["planned"]["created"], said.data["created"], said.data["read"]) == (1, 0, 1)
    load(guards={**UNGUARDED, "first_load": "hold"})
    said = manage("sync", "financial-aid", "--dry-run")
    assert (said.status, said.data["status"]) == (2, "previewed")
    assert "first load" in said.data["reason"]
    assert not LedgerEntry.objects.exists()


def test_sync_that_fails_exits_1_with_every_key_and_mails_at_once(
    feed: Feed, connection: Connection, manage: Manage, mailoutbox: list[EmailMessage]
) -> None:
    User.objects.create(username="ops", email="ops@example.edu", is_superuser=True)
    feed.status, feed.raw = 500, b"{}"
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["status"]) == (1, "failed")
    assert set(PROMISED) <= set(said.data)
    assert {said.data[name] for name in COUNTS} == {0}
    assert "500" in said.data["reason"]
    assert "Traceback" not in said.err
    assert len(mailoutbox) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such"], "There is no connection 'no-such'. There are: financial-aid."),
        (["financial-aid", "--dataset", "housing"], "has no dataset housing. It has: aid_awards."),
        ([], "slug"),
        (["financial-aid", "extra"], "extra"),
        (["financial-aid", "--no-such-option"], "--no-such-option"),
        (["financial-aid", "--dataset"], "--dataset"),
    ],
)
def test_sync_that_cannot_begin_exits_1_with_the_keys_that_programs_know(
    connection: Connection, manage: Manage, arguments: list[str], words: str
) -> None:
    said = manage("sync", *arguments)
    assert said.status == 1
    assert set(PROMISED) <= set(said.data)
    assert (said.data["run"], said.data["status"]) == (None, "failed")
    assert words in said.data["reason"]
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--no-such-option"]])
@pytest.mark.parametrize("command", ["sync", "student", "verify_ledger", "connections"])
def test_a_fault_in_the_arguments_never_ends_in_2_which_means_held(
    command: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "verify_ledger" and not arguments:
        arguments = ["a"]
    with pytest.raises(SystemExit) as end:
        load_command_class("integrations", command).run_from_argv(["manage.py", command, *arguments])
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: manage.py" in err


def test_sync_of_what_is_switched_off_or_archived_exits_1(
    load: Load, connection: Connection, manage: Manage
) -> None:
    load(enabled=False)
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["status"]) == (1, "failed")
    assert "switched off" in said.data["reason"]
    archive_connection(connection)
    said = manage("sync", "financial-aid")
    assert said.status == 1
    assert "There is no connection" in said.data["reason"]


def test_sync_beside_another_live_run_exits_1_and_names_it(
    feed: Feed, stream: Stream, manage: Manage
) -> None:
    run = request_run(stream, RunTrigger.ADMIN)
    assert take(run.pk) is not None
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["status"], said.data["run"]) == (1, "failed", None)
    assert f"Run {run.pk}" in said.data["reason"]
    assert "running" in said.data["reason"]
    assert feed.requests == []
    run.refresh_from_db()
    assert run.status == "running"


def test_sync_takes_over_a_run_that_still_waits_for_a_worker(
    feed: Feed, stream: Stream, manage: Manage
) -> None:
    feed.awards = [award(1)]
    run = request_run(stream, RunTrigger.ADMIN)
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["run"], said.data["status"]) == (0, run.pk, "applied")
    assert SyncRun.objects.count() == 1


def test_a_dry_run_does_not_take_over_a_real_one(stream: Stream, manage: Manage) -> None:
    run = request_run(stream, RunTrigger.ADMIN)
    said = manage("sync", "financial-aid", "--dry-run")
    assert said.status == 1
    assert f"Run {run.pk}" in said.data["reason"]
    run.refresh_from_db()
    assert run.status == "queued"


def dead_run(stream: Stream, *, dry_run: bool = False) -> SyncRun:
    """A run whose process has died, and whose lease is over."""
    run = request_run(stream, RunTrigger.COMMAND, dry_run=dry_run)
    take(run.pk)
    RunLease.objects.update(expires_at="2020-01-01T00:00:00Z")
    return run


def test_sync_finishes_a_run_whose_process_has_died_and_reports_it(
    feed: Feed, stream: Stream, manage: Manage
) -> None:
    feed.awards = [award(1)]
    dead = dead_run(stream)
    said = manage("sync", "financial-aid")
    assert (said.status, said.data["run"], said.data["status"]) == (0, dead.pk, "applied")
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize("is_dry", [True, False])
def test_a_dead_run_is_not_finished_by_who_asks_for_another_kind(
    feed: Feed, stream: Stream, manage: Manage, is_dry: bool
) -> None:
    dead = dead_run(stream, dry_run=is_dry)
    said = manage("sync", "financial-aid", *([] if is_dry else ["--dry-run"]))
    assert said.status == 1
    assert f"Run {dead.pk}" in said.data["reason"]
    assert feed.requests == []


def test_sync_tells_people_in_one_line(
    feed: Feed, connection: Connection, tell: Callable[..., tuple[int, str, str]]
) -> None:
    feed.awards = [award(1)]
    status, out, err = tell("sync", "financial-aid")
    assert status == 0
    assert out.startswith(f"Run {SyncRun.objects.get().pk} of financial-aid/aid_awards: applied in ")
    assert "1 read; 1 created, 0 modified, 0 voided; 0 unchanged, 0 rejected." in out
    status, out, err = tell("sync", "financial-aid", "--dry-run")
    assert "would be 0 created" in out
    feed.status, feed.raw = 404, b""
    status, out, err = tell("sync", "financial-aid")
    assert (status, out) == (1, "")
    assert "Check the path of the dataset" in err


# --- connections load -------------------------------------------------------------------------------------


@pytest.fixture
def document(feed: Feed, tmp_path: Path) -> Callable[[Any], str]:
    def write(content: Any) -> str:
        path = tmp_path / "document.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    return write


@pytest.mark.django_db
def test_connections_load_creates_replaces_and_says_whether_it_did(
    feed: Feed, manage: Manage, document: Callable[[Any], str]
) -> None:
    file = document(feed.document())
    for changed in (True, False):
        said = manage("connections", "load", file)
        assert (said.status, said.data) == (0, {"slug": "financial-aid", "changed": changed})
    said = manage("connections", "load", document(feed.document(name="Aid")))
    assert said.data == {"slug": "financial-aid", "changed": True}
    assert Connection.objects.get().name == "Aid"


@pytest.mark.django_db
def test_connections_load_takes_a_list_whole_or_not_at_all(
    feed: Feed, manage: Manage, document: Callable[[Any], str]
) -> None:
    good, other = feed.document(), feed.document(slug="other")
    said = manage("connections", "load", document([good, {**other, "slug": "Not One"}]))
    assert (said.status, said.data["status"]) == (1, "failed")
    assert "slug" in said.data["reason"]
    assert not Connection.objects.exists()
    said = manage("connections", "load", document([good, other]))
    assert said.data == [{"slug": "financial-aid", "changed": True}, {"slug": "other", "changed": True}]
    assert manage("connections", "load", document([])).data == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b'{"slug": "\\ud800"}', "is not JSON"),
        ({}, "name: Field required"),
        ("text", "JSON object"),
        (None, "JSON object"),
        ([1], "JSON object"),
        (
            {"slug": "x", "name": "X", "base_url": "https://x.example", "schedule": {"every_minutes": 4}},
            "every_minutes",
        ),
    ],
)
def test_connections_load_names_what_is_wrong_with_a_file(
    manage: Manage, document: Callable[[Any], str], content: Any, words: str
) -> None:
    said = manage("connections", "load", document(content))
    assert (said.status, said.data["status"]) == (1, "failed")
    assert words in said.data["reason"]
    assert not Connection.objects.exists()


@pytest.mark.django_db
def test_connections_load_of_what_cannot_be_read_says_so(manage: Manage, tmp_path: Path) -> None:
    for file in ("no-such-file.json", str(tmp_path)):
        said = manage("connections", "load", file)
        assert said.status == 1
        assert f"{file} cannot be read" in said.data["reason"]


@pytest.mark.django_db
def test_connections_load_prints_json_wherever_it_is_asked_for(
    feed: Feed, document: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = document(feed.document())
    for arguments in (["--json", "load", file], ["load", "--json", file], ["load", file, "--json"]):
        load_command_class("integrations", "connections").run_from_argv(
            ["manage.py", "connections", *arguments]
        )
        assert json.loads(capsys.readouterr().out)["slug"] == "financial-aid"


@pytest.mark.django_db
def test_connections_load_never_prints_a_secret(
    feed: Feed, manage: Manage, document: Callable[[Any], str], tell: Callable[..., tuple[int, str, str]]
) -> None:
    for auth in (
        {"type": "bearer", "token": "S3CRET"},
        {"type": "bearer", "token": "S3CRET", "typo": "S3CRET"},
    ):
        file = document(feed.document(auth=auth))
        assert "S3CRET" not in str(manage("connections", "load", file))
        assert "S3CRET" not in str(tell("connections", "load", file))


# --- student ----------------------------------------------------------------------------------------------


def test_student_shows_exactly_what_is_on_the_bill(feed: Feed, sync: Sync, manage: Manage) -> None:
    student, term = Student.objects.get(number="S0000001"), Term.objects.get(code="2026FA")
    post(student, term, Line(EntryKind.CHARGE, 540_000, "TUITION"))
    post(student, term, Line(EntryKind.PAYMENT, 1_000, "CARD"))
    feed.awards = [
        award(1),
        award(1, disbursement=2, amount="25.50", state="accepted", fund=fund("loan", code="DL")),
        award(1, disbursement=3, amount="-10.00"),
    ]
    run = sync()
    feed.awards = [feed.awards[0], feed.awards[2]]
    second = sync()
    said = manage("student", "S0000001")
    assert said.status == 0
    first, loan, returned = LedgerEntry.objects.filter(posted_run=run.pk).order_by("id")
    shared = {"term": "2026FA", "run": run.pk}
    assert said.data == {
        "number": "S0000001",
        "name": "Ada Okafor",
        "status": "active",
        "currency": "USD",
        "balance": "5300.00",
        "charges": "5400.00",
        "posted_aid": "90.00",
        "anticipated_aid": "0.00",
        "payments": "10.00",
        "refunds": "0.00",
        "aid": [
            {
                **shared,
                "entry": first.pk,
                "kind": "aid",
                "state": "posted",
                "amount": "100.00",
                "fund_code": "PELL",
                "fund_name": "Pell Grant",
                "voided_run": None,
            },
            {
                **shared,
                "entry": loan.pk,
                "kind": "aid",
                "state": "void",
                "amount": "25.50",
                "fund_code": "DL",
                "fund_name": "The DL fund",
                "voided_run": second.pk,
            },
            {
                **shared,
                "entry": returned.pk,
                "kind": "adjustment",
                "state": "posted",
                "amount": "10.00",
                "fund_code": "PELL",
                "fund_name": "Pell Grant",
                "voided_run": None,
            },
        ],
        "housing": [],
        "library_status": "none",
    }


def test_student_that_is_none_exits_1(students: list[Student], manage: Manage) -> None:
    for number in ("S9999999", "", "s0000001", "S0000001' OR 1=1 --"):
        said = manage("student", number)
        assert (said.status, said.data["status"]) == (1, "failed")
        assert f"There is no student with number {number}" in said.data["reason"]


def test_looking_at_a_student_writes_nothing_but_that_somebody_looked(
    students: list[Student], manage: Manage
) -> None:
    BillingAccount.objects.filter(student=students[0]).delete()
    said = manage("student", "S0000001")
    assert (said.status, said.data["balance"], said.data["aid"]) == (0, "0.00", [])
    assert not BillingAccount.objects.filter(student=students[0]).exists()
    assert AuditEvent.objects.get().action == "student.viewed"


def test_student_tells_people_the_same(
    feed: Feed, sync: Sync, tell: Callable[..., tuple[int, str, str]]
) -> None:
    feed.awards = [award(1, amount="1234.50")]
    run = sync()
    status, out, _ = tell("student", "S0000001")
    assert status == 0
    assert "S0000001 Ada Okafor (active)" in out
    assert "balance: -1,234.50 USD" in out
    assert f"2026FA PELL 1,234.50 USD posted, run {run.pk}" in out


# --- verify_ledger ----------------------------------------------------------------------------------------


@contextmanager
def unprotected() -> Iterator[None]:
    """Set the ledger's triggers aside, as whoever owns the table can; they are back when it ends."""
    (refusal,) = [part for part in refusals_in_migrations() if part.table == LedgerEntry._meta.db_table]
    assert isinstance(refusal, RefuseChanges)
    run_all(refusal.removal(database.vendor))
    yield
    run_all(refusal.statements(database.vendor))


def run_all(statements: list[str]) -> None:
    with as_owner(), database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)  # without parameters: a % in it stands for itself


@pytest.fixture
def standing(feed: Feed, sync: Sync) -> SyncRun:
    """Aid of every kind on bills, some of it voided, beside what people posted."""
    student, term = Student.objects.get(number="S0000001"), Term.objects.get(code="2026FA")
    post(student, term, Line(EntryKind.CHARGE, 100, "FEE"))
    post(student, term, Line(EntryKind.AID, 100, "BY-HAND"))
    feed.awards = [
        award(1),
        award(2, state="accepted"),
        award(3, amount="-5.00"),
        award(4),
        award(5, state="offered"),
    ]
    sync()
    feed.awards = [award(1, amount="90.00"), *feed.awards[1:3], award(5, state="offered")]
    return sync()


def test_verify_ledger_finds_nothing_where_everything_holds(standing: SyncRun, manage: Manage) -> None:
    said = manage("verify_ledger")
    assert said.status == 0
    assert said.data == {"status": "ok", "accounts": 12, "entries": 7, "records": 5, "faults": []}


def test_an_entry_that_a_person_voided_is_their_decision_and_no_fault(
    standing: SyncRun, manage: Manage
) -> None:
    void(LedgerEntry.objects.get(posted_run__isnull=False, state="anticipated"), reason="by hand")
    assert manage("verify_ledger").status == 0


A_LIVE_ENTRY = (
    "(SELECT max(id) FROM registration_ledgerentry WHERE state = 'posted' AND posted_run IS NOT NULL)"
)
BREAKS = {
    "an entry deleted": (
        f"DELETE FROM registration_ledgerentry WHERE id = {A_LIVE_ENTRY}",
        "record_without_entry",
    ),
    "an entry voided behind its record": (
        "UPDATE registration_ledgerentry SET state = 'void', voided_run = 1, voided_by = 'x', void_reason = 'x', "
        f"voided_at = CURRENT_TIMESTAMP WHERE id = {A_LIVE_ENTRY}",
        "record_without_entry",
    ),
    "a voided entry brought back": (
        "UPDATE registration_ledgerentry SET state = 'posted', voided_from = '', voided_run = NULL, voided_by = '', "
        "void_reason = '', voided_at = NULL WHERE state = 'void'",
        "entry_without_record",
    ),
    "an entry posted twice": (
        "INSERT INTO registration_ledgerentry (account_id, term_id, kind, adjusts, state, amount_minor, currency, "
        "code, description, posted_at, posted_by, posted_run, voided_by, void_reason) SELECT account_id, term_id, "
        "kind, adjusts, state, amount_minor, currency, code, description, posted_at, posted_by, posted_run, "
        f"voided_by, void_reason FROM registration_ledgerentry WHERE id = {A_LIVE_ENTRY}",
        "entry_without_record",
    ),
    "a record forgotten": (
        "DELETE FROM integrations_synclink WHERE key = 'A0001#1'",
        "entry_without_record",
    ),
    "a record that no longer knows its entry": (
        "UPDATE integrations_synclink SET object_id = NULL WHERE key = 'A0001#1'",
        "entry_without_record",
    ),
    "an amount changed": (
        f"UPDATE registration_ledgerentry SET amount_minor = amount_minor + 1 WHERE id = {A_LIVE_ENTRY}",
        "amount_differs",
    ),
    "another student billed": (
        "UPDATE registration_ledgerentry SET account_id = (SELECT max(student_id) FROM registration_billingaccount) "
        f"WHERE id = {A_LIVE_ENTRY}",
        "student_differs",
    ),
    "another currency": (
        f"UPDATE registration_ledgerentry SET currency = 'EUR' WHERE id = {A_LIVE_ENTRY}",
        "currency_differs",
    ),
    "aid turned into an adjustment": (
        f"UPDATE registration_ledgerentry SET kind = 'adjustment', adjusts = 'aid' WHERE id = {A_LIVE_ENTRY}",
        "kind_differs",
    ),
    "a posted entry made anticipated": (
        f"UPDATE registration_ledgerentry SET state = 'anticipated' WHERE id = {A_LIVE_ENTRY}",
        "state_differs",
    ),
    "an anticipated entry posted": (
        "UPDATE registration_ledgerentry SET state = 'posted' WHERE state = 'anticipated'",
        "state_differs",
    ),
}


@pytest.mark.parametrize(("statement", "rule"), BREAKS.values(), ids=BREAKS.keys())
def test_verify_ledger_finds_each_way_to_break_it(
    standing: SyncRun, manage: Manage, statement: str, rule: str
) -> None:
    with unprotected():
        assert execute(statement) >= 1
        said = manage("verify_ledger")
    assert (said.status, said.data["status"]) == (1, "failed")
    assert rule in {fault["rule"] for fault in said.data["faults"]}
    assert all(fault["sentence"].endswith(".") for fault in said.data["faults"])


def test_verify_ledger_tells_people_what_is_wrong(
    standing: SyncRun, tell: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = tell("verify_ledger")
    assert status == 0
    assert "7 entries of 12 accounts checked against 5 records." in out
    assert "Everything holds." in out
    execute("DELETE FROM integrations_synclink WHERE key = 'A0001#1'")
    status, _, err = tell("verify_ledger")
    assert status == 1
    assert f"posted by run {standing.pk}, is live, and no live record stands for it." in err
    assert "1 faults." in err
    assert len(verify_ledger().faults) == 1


# --- as processes of their own ------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """This process's, with the database of the tests."""
    settings = database.settings_dict
    url = f"sqlite:///{settings['NAME']}"
    if database.vendor == "postgresql":
        at = f"{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}"
        url = f"postgres://{at}/{settings['NAME']}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "ALLOW_PRIVATE_HOSTS": ",".join(django_settings.ALLOW_PRIVATE_HOSTS),
    }


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.django_db(transaction=True)
def test_a_sync_in_a_process_of_its_own_prints_one_json_value_and_logs_to_stderr(
    feed: Feed, stream: Stream
) -> None:
    feed.awards = [award(1)]
    done = process("sync", "financial-aid", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["created"] == 1
    assert "sync.started" in done.stderr
    assert LedgerEntry.objects.get().amount_minor == 10_000
    feed.status, feed.raw = 404, b""
    done = process("sync", "financial-aid", "--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "failed")
    assert "Traceback" not in done.stderr


@contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """The address of a simulated aid office that runs in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "manage.py", "simulate", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        word, address = child.stdout.readline().split()
        assert word == "ready"
        with may_reach(urlsplit(address).netloc):
            yield address
    finally:
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", "")


def fetch(address: str, *, token: str = SIMULATOR_TOKEN) -> dict[str, Any]:
    """One answer of the simulator. Raises HTTPError for a status that is none of success."""
    answer = requests.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def status_of(address: str, *, token: str = SIMULATOR_TOKEN) -> int:
    with pytest.raises(requests.HTTPError) as caught:
        fetch(address, token=token)
    return caught.value.response.status_code


def read_all(address: str, how: str) -> list[Any]:
    """Every award, page by page, in one of the three ways."""
    records: list[Any] = []
    following = f"{address}/awards?limit=7"
    while following:
        page = fetch(following)
        records += page["data"]
        assert page["total"] == 30
        if how == "page":
            following = f"{address}/awards?limit=7&page={page['page'] + 1}" if page["data"] else ""
        elif how == "cursor":
            cursor = page["next_cursor"]
            following = f"{address}/awards?limit=7&cursor={cursor}" if cursor else ""
        else:
            following = page["next"] or ""
    return records


def test_simulate_serves_the_same_data_for_the_same_seed_in_all_three_paginations() -> None:
    arguments = ("--records", "30", "--students", "12")
    with simulator(*arguments, "--seed", "5") as one, simulator(*arguments, "--seed", "6") as other:
        by_page = read_all(one, "page")
        assert len({record["id"] for record in by_page}) == 30
        assert read_all(one, "cursor") == by_page
        assert read_all(one, "next") == by_page
        assert read_all(other, "page") != by_page
        assert [status_of(f"{one}/awards", token=token) for token in ("", "wrong")] == [401, 401]
        for path, code in (("/nothing", 404), ("/awards?page=0", 400), ("/awards?limit=x", 400)):
            assert status_of(f"{one}{path}") == code
        with simulator(*arguments, "--seed", "5") as again:
            assert read_all(again, "cursor") == by_page
        first = by_page[0]
        assert (first["student"]["number"], first["state"], first["fund"]["type"]) == (
            "S0000001",
            "PAID",
            "grant",
        )


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_simulate_on_a_port_that_is_none_says_so_in_one_line(port: str) -> None:
    done = process("simulate", "--port", port)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"Port {port} cannot be used" in done.stderr


def test_simulate_on_a_busy_port_says_so_in_one_line() -> None:
    with simulator("--records", "1") as address:
        port = address.rpartition(":")[2]
        done = process("simulate", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Port {port} cannot be used" in done.stderr


@pytest.mark.parametrize("pagination", ["page", "cursor", "next_url"])
@pytest.mark.django_db(transaction=True)
def test_the_simulated_office_can_be_synced_from_in_every_pagination(
    feed: Feed, stream: Stream, load: Load, manage: Manage, pagination: str
) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "page": {"type": "page", "page_param": "page", "size_param": "limit", "size": 7},
        "cursor": {"type": "cursor", "cursor": "next_cursor", "size_param": "limit", "size": 7},
        "next_url": {"type": "next_url", "next": "next"},
    }
    mapping = feed.dataset()["mapping"] | {
        "status": {"path": "state", "transforms": ["lower"], "lookup": {"paid": "disbursed"}}
    }
    with simulator("--records", "30", "--students", "12") as address:
        load(
            base_url=address,
            auth={"type": "bearer", "token": SIMULATOR_TOKEN},
            datasets={
                "aid_awards": feed.dataset(
                    pagination={**shapes[pagination], "total": "total"}, mapping=mapping
                )
            },
        )
        said = manage("sync", "financial-aid")
        assert (said.status, said.data["read"], said.data["rejected"]) == (0, 30, 0), said.data
        assert manage("sync", "financial-aid").data["unchanged"] == 30
    assert verify_ledger().faults == []
