"""The addresses of the partner API, below `/api/v1/`."""

from django.urls import path

from registration.api.courses import CourseDetail, CourseList
from registration.api.sections import SectionDetail, SectionList
from registration.api.terms import TermDetail, TermList

app_name = "api"

urlpatterns = [
    path("terms/", TermList.as_view(), name="terms"),
    path("terms/<str:code>/", TermDetail.as_view(), name="term"),
    path("courses/", CourseList.as_view(), name="courses"),
    path("courses/<int:id>/", CourseDetail.as_view(), name="course"),
    path("sections/", SectionList.as_view(), name="sections"),
    path("sections/<int:id>/", SectionDetail.as_view(), name="section"),
]
