"""The addresses of the partner API, below `/api/v1/`."""

from django.urls import path

from registration.api.calendar import TermCalendar
from registration.api.courses import CourseDetail, CourseList
from registration.api.docs import ApiDocs, ApiDocument
from registration.api.sections import SectionDetail, SectionList
from registration.api.students import EnrollmentStatusDetail, EnrollmentStatusList, StudentBalance
from registration.api.terms import TermDetail, TermList

app_name = "api"

urlpatterns = [
    path("openapi.json", ApiDocument.as_view(), name="document"),
    path("docs/", ApiDocs.as_view(), name="docs"),
    path("terms/", TermList.as_view(), name="terms"),
    path("terms/<str:code>/", TermDetail.as_view(), name="term"),
    path("courses/", CourseList.as_view(), name="courses"),
    path("courses/<int:id>/", CourseDetail.as_view(), name="course"),
    path("sections/", SectionList.as_view(), name="sections"),
    path("sections/<int:id>/", SectionDetail.as_view(), name="section"),
    path("terms/<str:code>/calendar/", TermCalendar.as_view(), name="term-calendar"),
    path("enrollment-statuses/", EnrollmentStatusList.as_view(), name="enrollment-statuses"),
    path(
        "students/<str:student_number>/enrollment-status/",
        EnrollmentStatusDetail.as_view(),
        name="enrollment-status",
    ),
    path("students/<str:student_number>/balance/", StudentBalance.as_view(), name="balance"),
]
