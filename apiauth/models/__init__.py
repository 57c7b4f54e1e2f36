"""Who may call: staff who sign on, and consumers (partner systems) that hold credentials.

User and Consumer are swapped in from the very first migration, because Django cannot swap either in later.
"""

from apiauth.models.authenticator import Authenticator, RecoveryCode
from apiauth.models.consumer import Consumer, ConsumerStatus
from apiauth.models.reminder import ExpiryReminder
from apiauth.models.session import StaffSession
from apiauth.models.usage import ConsumerUsage
from apiauth.models.user import User

__all__ = [
    "Authenticator",
    "Consumer",
    "ConsumerStatus",
    "ConsumerUsage",
    "ExpiryReminder",
    "RecoveryCode",
    "StaffSession",
    "User",
]
