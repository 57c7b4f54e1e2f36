"""Who may see which students: given with a purpose, taken back with a reason, both kept; and who was shown whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import models, transaction
from django.utils import timezone

import audit
from apiauth.models import Consumer
from apiauth.models.consumer import DEFAULT_HOURLY_LIMIT
from apiauth.operations import Credentials, create_consumer
from audit import Entry
from registration.models import College, Program, Student, StudentGrant
from registration.models.disclosure import TARGETS, Audience
from registration.operations import Refused

# What each audience's target is found by.
_FOUND_BY: dict[Audience, tuple[type[models.Model], str]] = {
    Audience.PROGRAM: (Program, "code"),
    Audience.COLLEGE: (College, "code"),
    Audience.STUDENT: (Student, "number"),
}


@dataclass(frozen=True)
class Students:
    """An audience and, but for all students, whom it names."""

    audience: Audience
    target: models.Model | None = None


def students_named(text: str) -> Students:
    """The students that a text such as "all", "program:BSCS", "college:ENG" or "student:S0000001" names.

    Raises Refused for a text of another form, and for a code or number that nobody has.
    """
    kind, _, name = text.strip().partition(":")
    if kind == Audience.ALL and not name:
        return Students(Audience.ALL)
    if kind not in TARGETS or kind == Audience.ALL or not name:
        raise Refused(
            f"{text[:80]!r} names no students: write all, program:CODE, college:CODE or student:NUMBER."
        )
    model, key = _FOUND_BY[Audience(kind)]
    target = model._default_manager.filter(**{key: name}).first()
    if target is None:
        raise Refused(f"There is no {kind} with {key} {name[:40]}.")
    return Students(Audience(kind), target)


@transaction.atomic
def admit_consumer(
    name: str,
    *,
    scopes: list[str],
    contact: str = "",
    students: Students | None = None,
    purpose: str = "",
    hourly_limit: int = DEFAULT_HOURLY_LIMIT,
) -> Credentials:
    """Make a consumer with its first secret and the students it may see: none without `students`, as `grant` has it.

    Raises apiauth.operations.Refused for what is no consumer, and Refused for what is no grant; then neither is made.
    """
    admitted = create_consumer(name, scopes=scopes, contact=contact, hourly_limit=hourly_limit)
    if students is not None:
        grant(admitted.consumer, students, purpose=purpose)
    return admitted


@transaction.atomic
def grant(consumer: Consumer, students: Students, *, purpose: str) -> StudentGrant:
    """Let a consumer see these students for a purpose. Raises Refused without one, for a revoked consumer, and where it
    may see them already."""
    if not purpose.strip():
        raise Refused(
            "Say what the partner needs these students for: the purpose is kept with the disclosure."
        )
    consumer = Consumer.objects.select_for_update(of=("self",)).get(pk=consumer.pk)
    if consumer.status == "revoked":
        raise Refused(f"{consumer} is revoked: it may see nobody any more.")
    column = TARGETS[students.audience]
    values: dict[str, Any] = {"consumer": consumer, "audience": students.audience}
    if column:
        values[column] = students.target
    if StudentGrant.objects.current().filter(**values).exists():
        raise Refused(f"{consumer} may see these students already.")
    made = StudentGrant.objects.create(
        **values, purpose=purpose.strip(), granted_by=audit.current_actor().name
    )
    audit.record("consumer.students_granted", consumer, reason=made.purpose, detail=_reference(made))
    return made


@transaction.atomic
def withdraw(given: StudentGrant, *, reason: str) -> StudentGrant:
    """Take a grant back; the row stays, with the reason. Raises Refused without one, or when it is taken back already."""
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the grant.")
    given = StudentGrant.objects.select_for_update(of=("self",)).get(pk=given.pk)
    if given.revoked_at is not None:
        raise Refused("This grant is withdrawn already.")
    given.revoked_at, given.revoked_by = timezone.now(), audit.current_actor().name
    given.revoke_reason = reason.strip()
    given.save(update_fields=["revoked_at", "revoked_by", "revoke_reason"])
    audit.record("consumer.students_withdrawn", given.consumer, reason=reason, detail=_reference(given))
    return given


@dataclass(frozen=True)
class Shown:
    """A student who is shown to a consumer, and the grant that lets it see them."""

    student_id: int
    number: str
    grant_id: int
    purpose: str


DISCLOSED: Final = "student.disclosed"


def record_disclosures(what: str, shown: Iterable[Shown]) -> None:
    """Write to the trail that the consumer at hand is shown `what` ("balance") of each student, for the purpose of the grant:
    the record of disclosures that 34 CFR 99.32 asks for. One statement; it is committed when this returns, unless a
    transaction is open, so that it is called before the answer leaves."""
    entries = [
        Entry(each.student_id, each.purpose, {"student": each.number, "what": what, "grant": each.grant_id})
        for each in dict.fromkeys(shown)
    ]
    audit.record_each(DISCLOSED, Student, entries)


def _reference(given: StudentGrant) -> dict[str, Any]:
    """What the trail keeps of a grant: by reference, no name of anybody."""
    target = given.program_id or given.college_id or given.student_id
    return {"grant": given.pk, "audience": given.audience, "target": target}
