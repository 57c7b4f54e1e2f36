"""A university of 100,000: what a sweep with nothing to do may take, and how soon everybody who has just enrolled is queued.

These are promises about PostgreSQL, in seconds; the best of three counts, as another test may have the processor meanwhile. It
takes longer than other tests because 100,000 rows of four tables are made first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from integrations.models import OutboxMessage
from integrations.operations import save_connection
from integrations.outbox.library import reconcile_library
from integrations.simulators.koha import connection_document
from registration.models import Enrollment, LibraryAccount, Student
from tests.university import make_section, make_students, make_terms

STUDENTS, NEWLY_ENROLLED = 100_000, 10_000
SWEEP_SECONDS, QUEUE_SECONDS = 2.0, 5.0


@pytest.mark.django_db
def test_100_000_are_swept_in_2_seconds_and_10_000_newly_enrolled_queued_in_5() -> None:
    if connection.vendor != "postgresql":  # nothing of this is promised of SQLite
        return
    student = make_students(1)[0]
    section = make_section(make_terms()[0], capacity=STUDENTS)
    save_connection(connection_document("https://koha.example.edu"))
    seat = Enrollment.objects.create(student=student, section=section, status_since_at=timezone.now())
    multiply(student, STUDENTS - 1, number="'T' || lpad(n::text, 7, '0')")
    multiply_over_students(seat, but=NEWLY_ENROLLED)
    LibraryAccount.objects.create(
        student=student,
        status="provisioned",
        requested_at=timezone.now(),
        settled_at=timezone.now(),
        why="A test",
    )
    multiply_over_students(LibraryAccount.objects.get(), but=NEWLY_ENROLLED)
    analyze()
    assert min(seconds(reconcile_library) for _ in range(3)) < SWEEP_SECONDS
    assert not OutboxMessage.objects.exists()
    multiply_over_students(seat)
    assert seconds(reconcile_library) < QUEUE_SECONDS
    assert OutboxMessage.objects.count() == NEWLY_ENROLLED


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def analyze() -> None:
    """What autovacuum does in the course of a day."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def multiply(row: Model, count: int, **changes: str) -> None:
    """Copy a row so often; `changes` are expressions of SQL in which `n` counts from 1."""
    _copy(row, f"generate_series(1, {count}) AS n", changes)


def multiply_over_students(row: Model, *, but: int = 0) -> None:
    """Give every student who has none a copy of the row, but for the last so many of them."""
    table = row._meta.db_table
    students = (
        f"(SELECT id AS n FROM {Student._meta.db_table} AS student "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} AS own WHERE own.student_id = student.id) "
        f"ORDER BY id LIMIT {STUDENTS - 1 - but}) AS everybody"
    )
    _copy(row, students, {"student_id": "n"})


def _copy(row: Model, source: str, changes: Mapping[str, str]) -> None:
    names = [str(field.column) for field in row._meta.concrete_fields if field.column != "id"]
    values = ", ".join(changes.get(name, f"template.{name}") for name in names)
    table, key = row._meta.db_table, row._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {source}, "
            f"(SELECT * FROM {table} WHERE {key} = {row.pk}) AS template"
        )
