"""The OAuth endpoints that are served; django-oauth-toolkit's others are not mounted anywhere."""

from django.urls import path

from apiauth.oauth import endpoints

app_name = "oauth"

urlpatterns = [
    path("token/", endpoints.token, name="token"),
    path("revoke_token/", endpoints.revoke_token, name="revoke_token"),
    path("introspect/", endpoints.introspect, name="introspect"),
]
