"""The course catalogue, for partners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from registration.api.lists.fields import Field, Kind, Resource
from registration.api.lists.views import ItemView, ListView

COURSES: Final = Resource(
    name="courses",
    one="course",
    source="registration_course course JOIN registration_college college ON college.id = course.college_id",
    key="id",
    order="code",
    fields=(
        Field(
            "id", "course.id", Kind.INTEGER, "What the course is asked for by", is_orderable=True, example=1
        ),
        Field(
            "code",
            "course.code",
            Kind.TEXT,
            "Its code in the catalogue",
            is_filterable=True,
            is_orderable=True,
            is_searchable=True,
            example="BIOL 101",
        ),
        Field(
            "title",
            "course.title",
            Kind.TEXT,
            "Its title",
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
        Field(
            "college",
            "college.code",
            Kind.TEXT,
            "The college that teaches it",
            is_filterable=True,
            example="SCI",
        ),
        Field(
            "college_name", "college.name", Kind.TEXT, "That college's name", example="College of Sciences"
        ),
    ),
)


class CourseList(ListView):
    """The course catalogue, by code."""

    resource = COURSES
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "catalogue:read"}


class CourseDetail(ItemView):
    """One course."""

    resource = COURSES
    found_by = "id"
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "catalogue:read"}
