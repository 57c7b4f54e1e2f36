"""The admin of the boundary. Pages show; what they do is one call into operations."""

from integrations.admin.connection import ConnectionAdmin
from integrations.admin.consumer import ConsumerAdmin
from integrations.admin.run import RejectedRecordAdmin, SyncRunAdmin

__all__ = ["ConnectionAdmin", "ConsumerAdmin", "RejectedRecordAdmin", "SyncRunAdmin"]
