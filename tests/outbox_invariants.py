"""What holds of the outbox at any moment, whatever was killed: for every test that kills."""

from __future__ import annotations

from integrations.models import OutboxMessage


def assert_outbox_is_sound() -> None:
    """Each attempt is a row, one at most is under way and only under a lease, and what is delivered was delivered once."""
    for message in OutboxMessage.objects.prefetch_related("delivery_attempts"):
        attempts = sorted(message.delivery_attempts.all(), key=lambda attempt: attempt.number)
        outcomes = [attempt.outcome for attempt in attempts]
        assert [attempt.number for attempt in attempts] == list(range(1, message.attempts + 1))
        assert outcomes.count("delivered") == (message.status == "delivered")
        assert outcomes.count("under_way") <= (message.lease_ends_at is not None)
