"""Which door leads where."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from apiauth.oauth.metadata import metadata
from integrations.api.health import healthz, readyz

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("oauth/", include("apiauth.oauth.urls")),
    path(".well-known/oauth-authorization-server", metadata),
    path("api/v1/", include("registration.api.urls")),
    path("api/v1/", include("integrations.api.urls")),
    path("healthz", healthz),
    path("readyz", readyz),
]

handler400 = "config.errors.bad_request"
handler403 = "config.errors.permission_denied"
handler404 = "config.errors.page_not_found"
handler500 = "config.errors.server_error"
