"""The tables of the boundary: connections, runs, plans, alerts."""

from integrations.models.alert import Alert
from integrations.models.allowance import Allowance, Passage
from integrations.models.breaker import Breaker
from integrations.models.connection import Connection, Stream
from integrations.models.plan import Change, RejectedRecord, RunPage, SyncLink
from integrations.models.request_log import LoggedRequest
from integrations.models.run import RunLease, SyncRun
from integrations.models.subscription import WebhookSubscription
from integrations.models.token import ConnectionToken

__all__ = [
    "Alert",
    "Allowance",
    "Breaker",
    "Change",
    "Connection",
    "ConnectionToken",
    "LoggedRequest",
    "Passage",
    "RejectedRecord",
    "RunLease",
    "RunPage",
    "Stream",
    "SyncLink",
    "SyncRun",
    "WebhookSubscription",
]
