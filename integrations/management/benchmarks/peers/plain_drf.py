"""The peer that most would build: a ModelViewSet of the REST framework, tokens by django-oauth-toolkit, its throttle.

A WSGI application: `gunicorn integrations.management.benchmarks.peers.plain_drf:application`. It stands on the product's tables
(and so on its applications); whatever of the settings is on a request's way is what the packages' own tutorials arrive at.
"""

from __future__ import annotations

import os
from typing import Any, Final

import django
from django.conf import settings

_PLAIN: Final[dict[str, Any]] = {
    "ROOT_URLCONF": __name__,
    "CACHES": {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["REDIS_URL"],
            "KEY_PREFIX": os.environ["COUNTERS_PREFIX"],
        }
    },
    "MIDDLEWARE": [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    "OAUTH2_PROVIDER": {"SCOPES": {"sections:read": "Read sections"}},
    "REST_FRAMEWORK": {"DEFAULT_THROTTLE_RATES": {"api": "1000000/second"}},
}
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
for _name, _value in _PLAIN.items():
    setattr(settings, _name, _value)
settings.DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
django.setup()

# Below: what can be imported once there are settings.
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db.models import Count, OuterRef, QuerySet, Subquery  # noqa: E402
from django.db.models.functions import Coalesce  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope  # noqa: E402
from rest_framework import pagination, renderers, routers, serializers, throttling, viewsets  # noqa: E402

from registration.models import Enrollment, Section, SectionMeeting  # noqa: E402


class MeetingSerializer(serializers.ModelSerializer[SectionMeeting]):
    begins = serializers.TimeField(format="%H:%M")
    ends = serializers.TimeField(format="%H:%M")

    class Meta:
        model = SectionMeeting
        fields = ["weekday", "begins", "ends", "room", "first_on", "last_on"]


class SectionSerializer(serializers.ModelSerializer[Section]):
    term = serializers.CharField(source="term.code")
    course = serializers.CharField(source="course.code")
    title = serializers.CharField(source="course.title")
    credits = serializers.DecimalField(source="course.credits", max_digits=4, decimal_places=2)
    enrolled = serializers.IntegerField()
    waitlisted = serializers.IntegerField()
    seats_available = serializers.SerializerMethodField()
    meetings = MeetingSerializer(many=True)

    class Meta:
        model = Section
        fields = [
            *("id", "term", "crn", "course_id", "course", "title", "credits"),
            *("capacity", "enrolled", "waitlisted", "seats_available", "meetings"),
        ]

    def get_seats_available(self, section: Any) -> int:
        return int(max(0, section.capacity - section.enrolled))


def _seats(status: str) -> Any:
    counted = Enrollment.objects.filter(section=OuterRef("pk"), status=status).order_by().values("section")
    return Coalesce(Subquery(counted.annotate(number=Count("pk")).values("number")), 0)


class Pages(pagination.PageNumberPagination):
    page_size = 100


class SectionViewSet(viewsets.ReadOnlyModelViewSet[Section]):
    serializer_class = SectionSerializer
    pagination_class = Pages
    renderer_classes = [renderers.JSONRenderer]
    authentication_classes = [OAuth2Authentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["sections:read"]
    throttle_classes = [throttling.ScopedRateThrottle]
    throttle_scope = "api"

    def get_queryset(self) -> QuerySet[Section]:
        sections = Section.objects.select_related("term", "course").prefetch_related("meetings")
        counted = sections.annotate(enrolled=_seats("enrolled"), waitlisted=_seats("waitlisted"))
        return counted.order_by("id")


router = routers.SimpleRouter()
router.register("sections", SectionViewSet, basename="section")
urlpatterns = [path("", include(router.urls))]
application = get_wsgi_application()
