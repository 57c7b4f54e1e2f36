"""Naming students and sections at the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.db.models import Case, IntegerField, Value, When

from integrations.management.output import Refusal
from registration.models import Section, Student, Term


def add_seat(parser: ArgumentParser) -> None:
    """The arguments that name a student and a section."""
    parser.add_argument("number", help="the student number, such as S0000001")
    parser.add_argument("crn", help="the section's CRN, such as 10001")
    parser.add_argument("--term", help="the term's code, where the CRN is that of several terms")


def student_of(options: dict[str, Any]) -> Student:
    """The student that a command names. Raises Refusal."""
    student = Student.objects.filter(number=options["number"]).first()
    if student is None:
        raise Refusal(f"There is no student with number {options['number']}.")
    return student


def section_of(options: dict[str, Any]) -> Section:
    """The section that a command names: of the term that is named, or else of the current term, the next one, or the open
    term that begins last. Raises Refusal."""
    sections = Section.objects.filter(crn=options["crn"]).select_related("term", "course")
    if options["term"]:
        sections = sections.filter(term__code=options["term"])
    current = Term.objects.current()
    following = Term.objects.following(current) if current else None
    rank = Case(
        When(term=current, then=Value(0)),
        When(term=following, then=Value(1)),
        When(term__is_closed=False, then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
    section = sections.order_by(rank, "-term__starts_on").first()
    if section is None:
        where = f" in {options['term']}" if options["term"] else ""
        raise Refusal(f"There is no section with CRN {options['crn']}{where}.")
    return section
