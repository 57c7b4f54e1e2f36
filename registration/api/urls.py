"""The addresses of the partner API, below `/api/v1/`."""

from django.urls import path

from registration.api.terms import TermDetail, TermList

app_name = "api"

urlpatterns = [
    path("terms/", TermList.as_view(), name="terms"),
    path("terms/<str:code>/", TermDetail.as_view(), name="term"),
]
