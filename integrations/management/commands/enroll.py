"""Enroll a student in a section: `manage.py enroll NUMBER CRN [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.management.sections import add_seat, section_of, student_of
from registration import operations


class Command(OutcomeCommand):
    help = "Give a student a seat in a section, or a place on its waiting list."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_seat(parser)

    def outcome(self, **options: Any) -> Outcome:
        student, section = student_of(options), section_of(options)
        try:
            enrollment = operations.enroll(student, section)
        except operations.Refused as refusal:
            raise Refusal(str(refusal)) from None
        data = {
            "status": enrollment.status,
            "student": student.number,
            "crn": section.crn,
            "term": section.term.code,
        }
        return Outcome(data, [f"{student.number} is {enrollment.status} in {section}, {section.term}."])
