"""When a section meets, and the days that a term's calendar names.

The census is a column of the term itself, and the days of refunds are rows of a fee schedule: one fact, one place.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from registration.models.catalogue import Section, Term
from registration.models.constraints import filled, one_of


class Weekday(models.TextChoices):
    MONDAY = "mon", "Monday"
    TUESDAY = "tue", "Tuesday"
    WEDNESDAY = "wed", "Wednesday"
    THURSDAY = "thu", "Thursday"
    FRIDAY = "fri", "Friday"
    SATURDAY = "sat", "Saturday"
    SUNDAY = "sun", "Sunday"


class CalendarKind(models.TextChoices):
    CLASSES_BEGIN = "classes_begin", "Classes begin"
    LAST_DAY_TO_ADD = "last_day_to_add", "Last day to add"
    LAST_DAY_TO_DROP = "last_day_to_drop", "Last day to drop with a refund"
    LAST_DAY_TO_WITHDRAW = "last_day_to_withdraw", "Last day to withdraw"
    MOVE_IN = "move_in", "Halls open"
    MOVE_OUT = "move_out", "Halls close"
    HOLIDAY = "holiday", "Holiday"
    EXAMINATIONS = "examinations", "Examinations"


class SectionMeeting(models.Model):
    """One weekly meeting of a section, in the institution's own time."""

    section = models.ForeignKey(Section, on_delete=models.PROTECT, related_name="meetings")
    weekday = models.CharField(max_length=3, choices=Weekday.choices)
    begins = models.TimeField()
    ends = models.TimeField()
    room = models.CharField(max_length=60, blank=True)
    first_on = models.DateField()
    last_on = models.DateField()

    class Meta:
        ordering = ["section", "first_on", "weekday", "begins"]
        constraints = [
            models.CheckConstraint(
                name="section_meeting_weekday_known", condition=one_of("weekday", Weekday)
            ),
            models.CheckConstraint(
                name="section_meeting_times_in_order",
                condition=Q(begins__lt=F("ends")),
                violation_error_message="A meeting begins before it ends.",
            ),
            models.CheckConstraint(
                name="section_meeting_dates_in_order",
                condition=Q(first_on__lte=F("last_on")),
                violation_error_message="The first meeting is not after the last.",
            ),
            models.UniqueConstraint(
                fields=["section", "weekday", "begins", "first_on"], name="section_meeting_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.section} {self.get_weekday_display()} {self.begins:%H:%M}"


class CalendarEvent(models.Model):
    """A day, or a run of days, of a term's calendar."""

    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="calendar_events")
    kind = models.CharField(max_length=24, choices=CalendarKind.choices)
    name = models.CharField(max_length=120)
    starts_on = models.DateField()
    ends_on = models.DateField()
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    class Meta:
        ordering = ["term", "starts_on", "kind"]
        constraints = [
            models.CheckConstraint(name="calendar_event_kind_known", condition=one_of("kind", CalendarKind)),
            models.CheckConstraint(name="calendar_event_named", condition=filled("name")),
            models.CheckConstraint(
                name="calendar_event_dates_in_order",
                condition=Q(starts_on__lte=F("ends_on")),
                violation_error_message="An event does not end before it starts.",
            ),
            models.UniqueConstraint(fields=["term", "kind", "starts_on"], name="calendar_event_once_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.starts_on}"
