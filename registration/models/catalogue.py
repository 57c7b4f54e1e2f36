"""Terms, courses and the sections in which a course is taught."""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from registration.models.constraints import filled
from registration.models.people import College


class TermQuerySet(models.QuerySet["Term"]):
    def current(self) -> Term | None:
        """The regular term that the registrar has flagged, whatever the clock says."""
        return self.filter(is_current=True).first()

    def following(self, term: Term) -> Term | None:
        """The regular term after `term`."""
        return self.filter(is_regular=True, starts_on__gt=term.starts_on).order_by("starts_on").first()

    def giving_library_access(self, day: datetime.date, bridge: datetime.timedelta) -> TermQuerySet:
        """The regular terms an enrollment in which gives access to the library: the current and the next one, and those
        that have begun and ended no longer than the bridge before `day`, wherever the registrar's flag is."""
        fits = Q(starts_on__lte=day, ends_on__gte=day - bridge)
        if (current := self.current()) is not None:
            following = self.following(current)
            fits |= Q(pk__in=[term.pk for term in (current, following) if term])
        return self.filter(fits, is_regular=True)

    def codes_to_ids(self) -> dict[str, int]:
        """Every term's id by its code: terms are few."""
        return dict(self.values_list("code", "id"))


class Term(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    starts_on = models.DateField()
    ends_on = models.DateField()
    census_on = models.DateField(
        help_text="After this day a change of credits, housing or residency moves fees only when a person approves it."
    )
    is_regular = models.BooleanField(
        default=True, help_text="A fall or spring term, not a summer or a short one."
    )
    is_current = models.BooleanField(
        default=False, help_text="Set by the registrar, on one regular term at a time."
    )
    is_closed = models.BooleanField(
        default=False, help_text="The books are closed: nothing is charged, and nothing voided by absence."
    )
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    objects = TermQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_on", "code"]
        permissions = [("assess_term", "Can assess term")]
        constraints = [
            models.CheckConstraint(name="term_named", condition=filled("code", "name")),
            models.CheckConstraint(
                name="term_dates_in_order",
                condition=Q(
                    starts_on__lt=F("ends_on"), census_on__gte=F("starts_on"), census_on__lte=F("ends_on")
                ),
                violation_error_message="A term starts before it ends, and its census lies within it.",
            ),
            models.UniqueConstraint(
                fields=["is_current"],
                condition=Q(is_current=True),
                name="term_one_current",
                violation_error_message="Another term is the current one: take its flag away first.",
            ),
            models.CheckConstraint(
                name="term_current_is_regular_and_open",
                condition=Q(is_current=False) | Q(is_regular=True, is_closed=False),
                violation_error_message="Only a regular term whose books are open can be the current one.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def lasts_on(self, day: datetime.date) -> bool:
        """Whether `day` lies within the term."""
        return self.starts_on <= day <= self.ends_on


class Course(models.Model):
    code = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=200)
    credits = models.DecimalField(max_digits=4, decimal_places=2)
    college = models.ForeignKey(College, on_delete=models.PROTECT, related_name="courses")
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(name="course_named", condition=filled("code", "title")),
            models.CheckConstraint(name="course_credits_not_negative", condition=Q(credits__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.title}"


class Section(models.Model):
    """A course as it is taught in one term; `crn` is its reference number there."""

    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="sections")
    course = models.ForeignKey(Course, on_delete=models.PROTECT, related_name="sections")
    crn = models.CharField("CRN", max_length=10)
    capacity = models.PositiveIntegerField()
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    class Meta:
        ordering = ["term", "crn"]
        constraints = [
            models.UniqueConstraint(fields=["term", "crn"], name="section_crn_once_a_term"),
            models.CheckConstraint(name="section_numbered", condition=filled("crn")),
        ]

    def __str__(self) -> str:
        return f"{self.crn} {self.course.code}"
