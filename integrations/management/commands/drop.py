"""Take a student out of a section: `manage.py drop NUMBER CRN [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.management.sections import add_seat, section_of, student_of
from registration import operations
from registration.models import Enrollment


class Command(OutcomeCommand):
    help = "Take a student out of a section, or off its waiting list."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_seat(parser)
        parser.add_argument("--reason", default="", help="why; it is kept in the audit trail")

    def outcome(self, **options: Any) -> Outcome:
        student, section = student_of(options), section_of(options)
        enrollment = Enrollment.objects.filter(student=student, section=section).first()
        if enrollment is None:
            raise Refusal(f"{student.number} was never enrolled in {section}, {section.term}.")
        try:
            dropped = operations.drop(enrollment, reason=options["reason"])
        except operations.Refused as refusal:
            raise Refusal(str(refusal)) from None
        data = {
            "status": dropped.status,
            "student": student.number,
            "crn": section.crn,
            "term": section.term.code,
        }
        return Outcome(data, [f"{student.number} has dropped {section}, {section.term}."])
