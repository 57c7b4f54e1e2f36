"""The admin of the boundary. Pages show; what they do is one call into operations."""

from integrations.admin.connection import ConnectionAdmin
from integrations.admin.consumer import ConsumerAdmin
from integrations.admin.outbox import OutboxMessageAdmin
from integrations.admin.rejection import RejectedRecordAdmin
from integrations.admin.run import SyncRunAdmin
from integrations.admin.wire import LoggedRequestAdmin

__all__ = [
    "ConnectionAdmin",
    "ConsumerAdmin",
    "LoggedRequestAdmin",
    "OutboxMessageAdmin",
    "RejectedRecordAdmin",
    "SyncRunAdmin",
]
