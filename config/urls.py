"""Which door leads where."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from integrations.api.health import healthz, readyz

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]
