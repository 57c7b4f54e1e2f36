"""Who may call: staff who sign on, and consumers (partner systems) that hold credentials.

User and Consumer are swapped in from the very first migration, because Django cannot swap either in later.
"""

from apiauth.models.consumer import Consumer, ConsumerStatus
from apiauth.models.reminder import ExpiryReminder
from apiauth.models.usage import ConsumerUsage
from apiauth.models.user import User

__all__ = ["Consumer", "ConsumerStatus", "ConsumerUsage", "ExpiryReminder", "User"]
