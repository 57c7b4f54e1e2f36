"""The sealer: every committed event gets one seal, in order of discovery, and nobody waits for it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

import audit
from apiauth.models import User
from audit import sealing, tasks
from audit.encoding import encoded, event_columns, event_digest, instant_of, microseconds
from audit.models import GENESIS, AuditEvent, AuditSeal
from audit.models.event import sealable, writable
from audit.sealing import seal_events, unsealed_ids
from tests.audit.trail import NOON, VALUES, rules, seals, write

pytestmark = pytest.mark.django_db


def row_of(pk: int) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {event_columns('event')} FROM audit_auditevent AS event WHERE id = %s", [pk])
        row: tuple[Any, ...] = cursor.fetchone()
        return row


# --- the bytes --------------------------------------------------------------------------------------------


def test_an_event_has_the_same_bytes_on_every_database() -> None:
    """The digest is written here once and for all: SQLite and PostgreSQL both have to arrive at it."""
    detail = {
        "ü": "Ünïcode \U0001f600",
        "b": [1, -2, None, True],
        "a": {"z": "", "y": "</script>"},
        "n": 2**53 - 1,
    }
    at = datetime.datetime(2026, 2, 28, 23, 59, 59, 1, tzinfo=datetime.UTC)
    (pk,) = write(1, start=at, first_id=42, detail=detail, reason='said "no"\n\tthen \\ yes')
    data = encoded(row_of(pk))
    assert orjson.loads(data)[:3] == [1, 42, 1772323199000001]
    assert (
        hashlib.sha256(data).hexdigest() == "a437cbdd646dcbcb00494e2ed2615faec990770f5723b2d106621926665eeeda"
    )


@pytest.mark.parametrize(
    "at", [NOON, NOON.replace(microsecond=1), NOON.replace(year=1969), NOON.replace(microsecond=999_999)]
)
def test_a_time_is_sealed_to_the_microsecond(at: datetime.datetime) -> None:
    (pk,) = write(1, start=at)
    assert microseconds(row_of(pk)[1]) == microseconds(at)
    assert instant_of(microseconds(at)) == at


def test_a_fraction_or_a_number_that_databases_keep_differently_is_refused_and_leaves_nothing() -> None:
    for value in (0.1, 1e300, 2**53, {"deep": [-(2**60)]}):
        with pytest.raises(ValueError, match="cannot be sealed"):
            audit.record("user.changed", User(), detail={"value": value})  # type: ignore[dict-item]
    assert not AuditEvent.objects.exists()


TEXTS = st.text(st.characters(), max_size=30)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8))  # fmt: skip
def test_whatever_is_written_is_sealed_as_it_was_written(value: Any) -> None:
    with transaction.atomic():
        kept = audit.record("user.changed", User(), reason=str(value), detail={"value": value})
        sealed_detail = orjson.loads(encoded(row_of(kept.pk)))[-1]
        assert sealed_detail == {"value": sealable(value)}
        transaction.set_rollback(True)


def test_what_no_database_keeps_is_replaced_and_loses_no_event() -> None:
    kept = audit.record("user.changed", User(), reason="a\x00b\ud800c", detail={"\x00": "\udfff"})
    kept.refresh_from_db()
    assert (kept.reason, kept.detail, kept.subject_id) == ("a\ufffdb\ufffdc", {"\ufffd": "\ufffd"}, "")
    assert writable("x" * 5000) == "x" * 2000
    assert seal_events() == 1


# --- the chain --------------------------------------------------------------------------------------------


def test_each_seal_holds_the_digest_of_the_one_before() -> None:
    pks = write(7)
    assert seal_events() == 7
    chain = seals()
    assert [seal.position for seal in chain] == list(range(1, 8))
    assert [seal.event_id for seal in chain] == pks
    assert [bytes(seal.previous_digest) for seal in chain] == [
        GENESIS,
        *(bytes(seal.digest) for seal in chain[:-1]),
    ]


def test_sealing_again_adds_what_is_new_and_nothing_else() -> None:
    write(3)
    assert (seal_events(), seal_events()) == (3, 0)
    write(2, start=NOON + datetime.timedelta(minutes=1))
    assert (seal_events(), rules()) == (2, [])
    assert [seal.position for seal in seals()] == [1, 2, 3, 4, 5]


def test_an_event_that_appears_beneath_a_sealed_one_is_sealed_too() -> None:
    """As a transaction that was open for long leaves it: its id was given out before, its row is seen after."""
    write(1, first_id=500)
    seal_events()
    write(1, first_id=100)
    assert seal_events() == 1
    assert [seal.event_id for seal in seals()] == [500, 100]
    assert rules() == []


def test_a_look_over_the_whole_trail_finds_what_the_quick_looks_are_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealing, "RECENT", 10)
    write(1, first_id=500)
    seal_events()
    write(1, first_id=100)
    assert (seal_events(), unsealed_ids(5)) == (0, [100])
    tasks.export_hourly_head()
    assert unsealed_ids(5) == []


def test_a_backlog_is_sealed_in_parts_as_one_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "DISCOVERED", 4)
    monkeypatch.setattr(sealing, "WRITTEN", {"postgresql": 3, "sqlite": 3})
    write(11)
    assert seal_events() == 11
    assert rules() == []


def test_a_sealing_that_breaks_off_leaves_a_whole_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "WRITTEN", {"postgresql": 2, "sqlite": 2})
    write(5)
    chained, parts = sealing._chained, []

    def break_off(*arguments: Any) -> Any:
        parts.append(1)
        if len(parts) == 2:
            raise ZeroDivisionError
        return chained(*arguments)

    monkeypatch.setattr(sealing, "_chained", break_off)
    with pytest.raises(ZeroDivisionError):
        seal_events()
    assert AuditSeal.objects.count() == 2
    assert seal_events() == 3
    assert rules() == []


def test_a_row_that_somebody_wrote_past_our_code_stops_nobody() -> None:
    write(1, detail={"huge": 1e300, "n": 10**40})
    write(2, start=NOON + datetime.timedelta(minutes=1))
    assert seal_events() == 3
    assert rules() == []


# --- several at once --------------------------------------------------------------------------------------

WRITERS, EACH = 8, 25


@pytest.mark.django_db(transaction=True)
def test_eight_writers_and_two_sealers_at_once_make_one_chain() -> None:
    begin = Barrier(WRITERS + 2)

    def write_events(writer: int) -> int:
        try:
            begin.wait(timeout=30)
            for _ in range(EACH):
                audit.record("user.changed", User(pk=writer))
            return 0
        finally:
            connection.close()

    def seal() -> int:
        try:
            begin.wait(timeout=30)
            return sum(seal_events() for _ in range(20))
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS + 2) as pool:
        writing = [pool.submit(write_events, writer) for writer in range(WRITERS)]
        sealing_ = [pool.submit(seal) for _ in range(2)]
        for future in writing:
            future.result(timeout=60)
        by_two = sum(future.result(timeout=60) for future in sealing_)
    assert by_two + seal_events() == WRITERS * EACH
    assert [seal.position for seal in seals()] == list(range(1, WRITERS * EACH + 1))
    assert rules() == []


@pytest.mark.django_db(transaction=True)
def test_no_writer_waits_for_a_sealing_that_is_under_way() -> None:
    """The sealing is held open, with every lock that it takes; PostgreSQL refuses a writer that waits for one for 2 ms.

    SQLite has one writer at a time, whoever it is. What the sealer does there is as little as can be in its turn: it reads
    and digests before."""

    def write_events(writer: int) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '2ms'")
            for _ in range(EACH):
                audit.record("user.changed", User(pk=writer))
        finally:
            connection.close()

    write(300)
    if connection.vendor != "postgresql":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sealing, "event_digest", digest_outside_a_transaction)
            assert seal_events() == 300
        assert sealing.WRITTEN["sqlite"] <= 250
        return
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        assert seal_events() == 300
        for writer in range(WRITERS):
            pool.submit(write_events, writer).result(timeout=30)
    assert seal_events() == WRITERS * EACH
    assert rules() == []


def digest_outside_a_transaction(row: Sequence[Any]) -> bytes:
    assert not connection.in_atomic_block
    return event_digest(row)


@pytest.mark.django_db(transaction=True)
def test_while_one_process_seals_another_leaves_it_to_that_one() -> None:
    write(3)
    if connection.vendor != "postgresql":  # IMMEDIATE transactions take turns: the second finds it done
        with transaction.atomic():
            assert sealing._is_only_sealer()
        return

    def seal_elsewhere() -> int:
        try:
            return seal_events()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert sealing._is_only_sealer()
            assert pool.submit(seal_elsewhere).result(timeout=30) == 0
        assert pool.submit(seal_elsewhere).result(timeout=30) == 3


@pytest.mark.django_db(transaction=True)
def test_a_writer_that_commits_late_is_not_missed() -> None:
    def write_and_seal() -> None:
        try:
            audit.record("user.changed", User(pk=2))
            assert seal_events() == 1
        finally:
            connection.close()

    if connection.vendor == "postgresql":
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            late = audit.record("user.changed", User(pk=1))
            pool.submit(write_and_seal).result(timeout=30)
        assert seals()[0].event_id > late.pk
    else:
        with transaction.atomic():
            late = audit.record("user.changed", User(pk=1))
    assert seal_events() == 1
    assert seals()[-1].event_id == late.pk
    assert rules() == []


def test_beat_seals_within_seconds() -> None:
    from config.celery import app  # noqa: PLC0415

    entries = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert entries["audit.tasks.seal"] <= 10
    assert entries["audit.tasks.export_hourly_head"] <= 3600
    assert set(VALUES) < {field.column for field in AuditEvent._meta.concrete_fields}
    write(1)
    assert tasks.seal() == 1
