"""The records of registration, by what they tell of."""

from registration.models.billing import BillingAccount, LedgerEntry
from registration.models.calendar import CalendarEvent, SectionMeeting
from registration.models.catalogue import Course, Section, Term
from registration.models.disclosure import StudentGrant
from registration.models.enrollment import Enrollment
from registration.models.fee_change import FeeChange
from registration.models.fees import FeeItem, FeeSchedule, RefundStep
from registration.models.housing import HousingAssignment
from registration.models.library import LibraryAccount
from registration.models.people import College, CollegeMember, Program, Student

__all__ = [
    "BillingAccount",
    "CalendarEvent",
    "College",
    "CollegeMember",
    "Course",
    "Enrollment",
    "FeeChange",
    "FeeItem",
    "FeeSchedule",
    "HousingAssignment",
    "LedgerEntry",
    "LibraryAccount",
    "Program",
    "RefundStep",
    "Section",
    "SectionMeeting",
    "Student",
    "StudentGrant",
    "Term",
]
