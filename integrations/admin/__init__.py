"""The admin of the boundary. Pages show; what they do is one call into operations."""

from integrations.admin.alert import AlertAdmin
from integrations.admin.connection import ConnectionAdmin
from integrations.admin.consumer import ConsumerAdmin
from integrations.admin.outbox import OutboxMessageAdmin
from integrations.admin.rejection import RejectedRecordAdmin
from integrations.admin.run import SyncRunAdmin
from integrations.admin.term_code import TermCodeAdmin
from integrations.admin.wire import LoggedRequestAdmin

__all__ = [
    "AlertAdmin",
    "ConnectionAdmin",
    "ConsumerAdmin",
    "LoggedRequestAdmin",
    "OutboxMessageAdmin",
    "RejectedRecordAdmin",
    "SyncRunAdmin",
    "TermCodeAdmin",
]
