"""How far a person's decisions reach: every student, those of one college, or none."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from integrations.models.plan import ChangeQuerySet
from registration.models import College, CollegeMember, Student


@dataclass(frozen=True)
class Reach:
    """Whether somebody may decide about runs and, where it ends at a college, at which. `sees_all` is false for those who
    see only the students of their college."""

    may_decide: bool
    within: College | None = None
    sees_all: bool = True

    def seen(self, changes: ChangeQuerySet) -> ChangeQuerySet:
        """Narrow changes to those of students whom the person may see."""
        if self.sees_all:
            return changes
        if self.within is None:
            return changes.none()
        return changes.filter(student_id__in=Student.objects.of_college(self.within).values("pk"))


def reach_of(request: HttpRequest) -> Reach:
    """The reach of whoever asks: an administrator's is everywhere, a principal's ends at the own college."""
    if request.user.has_perm("integrations.decide_syncrun"):
        return Reach(may_decide=True)
    if not request.user.has_perm("integrations.decide_college_syncrun"):
        return Reach(may_decide=False)
    member = (
        CollegeMember.objects.select_related("college")
        .filter(user__username=request.user.get_username())
        .first()
    )
    return Reach(member is not None, member.college if member else None, sees_all=False)
