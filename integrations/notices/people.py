"""Who is told of what: administrators all that is usual, everybody else what they have asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from django.db.models import Q, QuerySet

from apiauth.models import User
from apiauth.roles import ADMINISTRATOR
from integrations.models import Alert
from integrations.models.alert import AlertSubscription, Letters, Severity

# From which severity on a person is told at once, by what they have asked for; what is below waits for the morning.
AT_ONCE_FROM: Final = {
    Letters.ALL: Severity.LOW,
    Letters.NORMAL: Severity.NORMAL,
    Letters.URGENT: Severity.URGENT,
    Letters.DAILY: Severity.URGENT + 1,
}


@dataclass(frozen=True)
class Reader:
    """A person who gets letters, and of what. Without connections: of all of them."""

    person: User
    letters: Letters = Letters.NORMAL
    connections: frozenset[int] = field(default_factory=frozenset)

    def wants(self, alert: Alert) -> bool:
        """Whether the alert is about something that the person follows; what is about the installation is for all."""
        about = alert.stream.connection_id if alert.stream else alert.connection_id
        return not self.connections or about is None or about in self.connections

    def at_once(self, alert: Alert) -> bool:
        """Whether the person is told in a letter of its own."""
        return alert.severity >= AT_ONCE_FROM[self.letters]


def readers() -> list[Reader]:
    """Everybody who gets letters about alerts: active, with an address, and allowed to see them."""
    found = []
    for person in _who_may_be_told():
        subscription = getattr(person, "alert_subscription", None)
        reader = Reader(person) if subscription is None else _reader(person, subscription)
        if reader.letters != Letters.NONE and person.has_perm("integrations.view_alert"):
            found.append(reader)
    return found


def administrators() -> list[str]:
    """The addresses of the administrators."""
    people = User.objects.filter(_is_administrator(), is_active=True).exclude(email="")
    return sorted(set(people.values_list("email", flat=True)))


def _who_may_be_told() -> Iterable[User]:
    told: QuerySet[User] = User.objects.filter(
        _is_administrator() | Q(alert_subscription__isnull=False), is_active=True
    )
    return told.exclude(email="").select_related("alert_subscription").distinct().order_by("pk")


def _is_administrator() -> Q:
    return Q(groups__name=ADMINISTRATOR) | Q(is_superuser=True)


def _reader(person: User, subscription: AlertSubscription) -> Reader:
    followed = subscription.connections.values_list("pk", flat=True)
    return Reader(person, Letters(subscription.letters), frozenset(followed))
