"""Sections and how many seats are taken, for partners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from registration.api.lists.fields import Field, Filter, Kind, Nested, Resource, list_of
from registration.api.lists.views import ItemView, ListView

_SEATS: Final = "(SELECT count(*) FROM registration_enrollment seat WHERE seat.section_id = section.id AND seat.status = '{}')"

MEETINGS: Final = Nested(
    source="registration_sectionmeeting meeting",
    condition="meeting.section_id = section.id",
    order="meeting.first_on, meeting.weekday, meeting.begins",
    fields=(
        Field("weekday", "meeting.weekday", Kind.TEXT, "mon, tue, wed, thu, fri, sat or sun", example="mon"),
        Field(
            "begins",
            "meeting.begins",
            Kind.TIME_OF_DAY,
            "When it begins, in the institution's own time",
            example="09:00",
        ),
        Field("ends", "meeting.ends", Kind.TIME_OF_DAY, "When it ends", example="09:50"),
        Field("room", "meeting.room", Kind.TEXT, "Where; empty where no room is set", example="Hall 7"),
        Field(
            "first_on", "meeting.first_on", Kind.DATE, "The day from which it is held", example="2026-08-24"
        ),
        Field(
            "last_on", "meeting.last_on", Kind.DATE, "The day until which it is held", example="2026-12-18"
        ),
    ),
)

SECTIONS: Final = Resource(
    name="sections",
    one="section",
    source="registration_section section JOIN registration_term term ON term.id = section.term_id "
    "JOIN registration_course course ON course.id = section.course_id",
    key="id",
    order="id",
    fields=(
        Field(
            "id", "section.id", Kind.INTEGER, "What the section is asked for by", is_orderable=True, example=1
        ),
        Field("term", "term.code", Kind.TEXT, "The code of its term", is_filterable=True, example="2026FA"),
        Field(
            "crn",
            "section.crn",
            Kind.TEXT,
            "Its number within the term",
            is_filterable=True,
            is_searchable=True,
            example="10001",
        ),
        Field(
            "course_id",
            "course.id",
            Kind.INTEGER,
            "The course that it teaches",
            is_filterable=True,
            example=1,
        ),
        Field(
            "course",
            "course.code",
            Kind.TEXT,
            "That course's code",
            is_filterable=True,
            is_searchable=True,
            example="BIOL 101",
        ),
        Field(
            "title",
            "course.title",
            Kind.TEXT,
            "That course's title",
            is_searchable=True,
            example="Introduction to Biology",
        ),
        Field(
            "credits",
            "course.credits",
            Kind.DECIMAL,
            "How many credits it gives, as a decimal string",
            example="3.00",
        ),
        Field("capacity", "section.capacity", Kind.INTEGER, "How many seats there are", example=30),
        Field(
            "enrolled", _SEATS.format("enrolled"), Kind.INTEGER, "How many students hold a seat", example=25
        ),
        Field("waitlisted", _SEATS.format("waitlisted"), Kind.INTEGER, "How many wait for one", example=0),
        Field(
            "seats_available",
            "CASE WHEN found.capacity > found.enrolled THEN found.capacity - found.enrolled ELSE 0 END",
            Kind.INTEGER,
            "How many seats are free; none where more students were let in than there are seats",
            of=("capacity", "enrolled"),
            example=5,
        ),
        list_of("meetings", "When and where it meets, each week", MEETINGS),
    ),
    more_filters=(
        Filter(
            "college",
            "course.college_id IN (SELECT id FROM registration_college WHERE code = %s)",
            Kind.TEXT,
            "The college that teaches it",
            example="SCI",
        ),
    ),
)


class SectionList(ListView):
    """Sections, with their seats and meetings."""

    resource = SECTIONS
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "sections:read"}


class SectionDetail(ItemView):
    """One section."""

    resource = SECTIONS
    found_by = "id"
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "sections:read"}
