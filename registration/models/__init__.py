"""The records of registration, by what they tell of."""

from registration.models.billing import BillingAccount, LedgerEntry
from registration.models.catalogue import Course, Section, Term
from registration.models.disclosure import StudentGrant
from registration.models.enrollment import Enrollment
from registration.models.people import College, CollegeMember, Program, Student

__all__ = [
    "BillingAccount",
    "College",
    "CollegeMember",
    "Course",
    "Enrollment",
    "LedgerEntry",
    "Program",
    "Section",
    "Student",
    "StudentGrant",
    "Term",
]
