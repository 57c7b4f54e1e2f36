"""Principals see the students of their own college, through whichever door of the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apiauth.roles import PRINCIPAL, ROLES
from registration.models import CollegeMember, Student


class OwnCollegeOnly(admin.ModelAdmin[Any]):
    """Rows about students, narrowed for principals. Lists, searches, what a field suggests, actions, exports and the page of a
    row all begin at `get_queryset`, so that none of them is a way around."""

    # How a row leads to its student's key, such as "student_id".
    student_key = "pk"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        students = students_in_reach(request)
        return rows if students is None else rows.filter(**{f"{self.student_key}__in": students})


def students_in_reach(request: HttpRequest) -> QuerySet[Student, Any] | None:
    """The keys of the students whom a principal may see, none for one of no college; None for who may see all.

    Whoever has a role beside it that sees students everywhere sees them everywhere.
    """
    user = request.user
    if not user.is_authenticated or user.is_superuser:
        return None
    roles = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    if roles != {PRINCIPAL}:
        return None
    member = CollegeMember.objects.select_related("college").filter(user__pk=user.pk).first()
    students = Student.objects.of_college(member.college) if member else Student.objects.none()
    return students.values("pk")
