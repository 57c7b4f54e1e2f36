"""The tables of the boundary: connections, runs, plans, alerts."""

from integrations.models.alert import Alert
from integrations.models.connection import Connection, Stream
from integrations.models.plan import Change, RejectedRecord, RunPage, SyncLink
from integrations.models.run import RunLease, SyncRun
from integrations.models.token import ConnectionToken

__all__ = [
    "Alert",
    "Change",
    "Connection",
    "ConnectionToken",
    "RejectedRecord",
    "RunLease",
    "RunPage",
    "Stream",
    "SyncLink",
    "SyncRun",
]
