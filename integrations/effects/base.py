"""What an effect is: how it is brought about through a connector, when it is tried again, and what its end means here."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from integrations.connectors.base import Connector
from integrations.models import OutboxMessage

# After the first, second and third failed attempt. The promise is an hour: the last of these is made within half of it.
WITHIN_THE_HOUR: Final = (
    datetime.timedelta(minutes=1),
    datetime.timedelta(minutes=5),
    datetime.timedelta(minutes=20),
)


class Impossible(Exception):
    """The effect will never come about as things stand; the text says why, and a person has to decide."""


class Effect(ABC):
    """One kind of effect. `retry_after` is the table of its retries: what failed once more than it has rows is escalated.
    What is blocked waits `blocked_after`, as often as it takes."""

    kind: ClassVar[str]
    label: ClassVar[str]
    retry_after: ClassVar[Sequence[datetime.timedelta]] = WITHIN_THE_HOUR
    blocked_after: ClassVar[datetime.timedelta] = datetime.timedelta(days=1)
    # Within this time of its cause it is promised to come about; what takes longer is an alert. None: nothing is promised.
    promised_within: ClassVar[datetime.timedelta | None] = None

    @abstractmethod
    def bring_about(self, message: OutboxMessage, connector: Connector) -> Any:
        """Do it, or find it done: where `message.is_uncertain`, the system is asked before anything is sent again.

        No transaction is open. Returns whatever `delivered` is to know; raises a TransportError, Unsupported or Impossible.
        """

    @abstractmethod
    def delivered(self, message: OutboxMessage, result: Any) -> None:
        """Keep here that it has come about; in the transaction in which the message ends."""

    @abstractmethod
    def blocked(self, message: OutboxMessage, reason: str) -> None:
        """Keep here what it waits for."""

    @abstractmethod
    def escalated(self, message: OutboxMessage, reason: str) -> None:
        """Keep here that it needs a person."""

    @abstractmethod
    def waits_again(self, message: OutboxMessage) -> None:
        """Keep here that it is tried again, because a person has said so."""
