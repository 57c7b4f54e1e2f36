"""The addresses of the partner API that are of the boundary, below `/api/v1/`."""

from django.urls import path

from integrations.api.subscriptions import SubscriptionDetail, SubscriptionList

app_name = "boundary-api"

urlpatterns = [
    path("webhook-subscriptions/", SubscriptionList.as_view(), name="webhook-subscriptions"),
    path("webhook-subscriptions/<int:id>/", SubscriptionDetail.as_view(), name="webhook-subscription"),
]
