"""Webhook subscriptions, for partners: what each wants to hear of, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, cast

from django.conf import settings
from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apiauth.bearer import Caller
from apiauth.models import Consumer
from apiauth.permissions import refuse_scope
from integrations import subscriptions
from integrations.models.subscription import MAX_URL_LENGTH, STATE, WebhookSubscription
from integrations.webhook_events import EVENT_TYPES, missing_scope
from registration.api.lists.fields import Field, Kind, Resource
from registration.api.lists.sql import Condition
from registration.api.lists.views import ItemView, ListView

_TABLE: Final = WebhookSubscription._meta.db_table
SUBSCRIPTIONS: Final = Resource(
    name="webhook-subscriptions",
    one="webhook-subscription",
    source=f"{_TABLE} subscription",
    key="id",
    order="id",
    fields=(
        Field(
            "id",
            "subscription.id",
            Kind.INTEGER,
            "What the subscription is asked for by",
            is_orderable=True,
            example=7,
        ),
        Field(
            "url",
            "subscription.url",
            Kind.TEXT,
            "Where events will be sent",
            example="https://hooks.example.org/matricula",
        ),
        Field(
            "event_types",
            "subscription.event_types",
            Kind.JSON,
            "Which events",
            values=tuple(EVENT_TYPES),
            example=["section.changed"],
        ),
        Field(
            "state",
            f"'{STATE}'",
            Kind.TEXT,
            "How it stands: webhooks are not delivered yet, so that nothing is sent",
            values=(STATE,),
            example=STATE,
        ),
        Field(
            "created_at",
            "subscription.created_at",
            Kind.INSTANT,
            "When it was made",
            example="2026-11-27T10:00:00.000000Z",
        ),
    ),
)
_OWN: Final[tuple[Condition, ...]] = (
    (
        "subscription.consumer_id = (SELECT caller.consumer_id FROM caller) AND subscription.ended_at IS NULL",
        (),
    ),
)


class SubscriptionRequest(serializers.Serializer[Any]):
    """What a subscription is made of."""

    url = serializers.CharField(
        max_length=MAX_URL_LENGTH, help_text="An https address on the public internet, for events"
    )
    event_types = serializers.ListField(
        child=serializers.ChoiceField(choices=[(name, kind.words) for name, kind in EVENT_TYPES.items()]),
        allow_empty=False,
        max_length=len(EVENT_TYPES),
        help_text="Which events; each needs the scope of the data that it speaks of",
    )

    def to_internal_value(self, data: Any) -> Any:
        unknown = (
            sorted(str(name)[:60] for name in set(data) - set(self.fields)) if isinstance(data, dict) else []
        )
        if unknown:
            raise ValidationError({name: ["There is no such member here."] for name in unknown})
        return super().to_internal_value(data)


class SubscriptionList(ListView):
    """Your webhook subscriptions, the oldest first."""

    resource = SUBSCRIPTIONS
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "webhooks:manage", "POST": "webhooks:manage"}
    request_body = SubscriptionRequest

    def limits(self) -> Iterable[Condition]:
        return _OWN

    def post(self, request: Request) -> Response:
        """Subscribe to events.

        The answer holds the secret with which they will be signed, once. Webhooks are not delivered yet, and `state` says so.
        """
        asked = SubscriptionRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        event_types = list(dict.fromkeys(asked.validated_data["event_types"]))
        caller = cast("Caller", request.user)
        if scope := missing_scope(event_types, caller.scopes):
            refuse_scope(caller, scope)
        try:
            subscriptions.check_address(asked.validated_data["url"])
            made = subscriptions.subscribe(
                Consumer(pk=caller.consumer_id), url=asked.validated_data["url"], event_types=event_types
            )
        except subscriptions.Refused as refused:
            raise ValidationError({refused.field: [str(refused)]}) from None
        shown = {**_shown(made.subscription), "secret": made.secret}
        location = f"{settings.BASE_URL}{request.path}{made.subscription.pk}/"
        return Response(shown, status=201, headers={"Location": location, "Cache-Control": "no-store"})


class SubscriptionDetail(ItemView):
    """One webhook subscription of yours."""

    resource = SUBSCRIPTIONS
    found_by = "id"
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "webhooks:manage", "DELETE": "webhooks:manage"}

    def limits(self) -> Iterable[Condition]:
        return _OWN

    def delete(self, request: Request, **kwargs: int) -> Response:
        """End a subscription: nothing more is sent, and its secret is forgotten."""
        caller = cast("Caller", request.user)
        if not subscriptions.unsubscribe(Consumer(pk=caller.consumer_id), kwargs["id"]):
            raise Http404
        return Response(status=204)


def _shown(subscription: WebhookSubscription) -> dict[str, Any]:
    return {field.name: getattr(subscription, field.name) for field in SUBSCRIPTIONS.fields}
