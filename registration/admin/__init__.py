"""The admin of registration: doors to its operations, one module for each group of records."""

from registration.admin import billing, catalogue, enrollments, fees, housing, library, staff, students

__all__ = ["billing", "catalogue", "enrollments", "fees", "housing", "library", "staff", "students"]
