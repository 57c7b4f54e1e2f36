"""The tables of the boundary: connections, runs, plans, alerts."""

from integrations.models.alert import Alert, AlertNotice, AlertSubscription
from integrations.models.allowance import Allowance, Passage
from integrations.models.breaker import Breaker
from integrations.models.connection import Connection, Stream
from integrations.models.outbox import DeliveryAttempt, DeliveryPause, OutboxMessage
from integrations.models.plan import Change, RejectedRecord, RunPage, SyncLink
from integrations.models.pulse import Pulse
from integrations.models.request_log import LoggedRequest
from integrations.models.run import RunLease, SyncRun
from integrations.models.subscription import WebhookSubscription
from integrations.models.term_code import TermCode
from integrations.models.token import ConnectionToken

__all__ = [
    "Alert",
    "AlertNotice",
    "AlertSubscription",
    "Allowance",
    "Breaker",
    "Change",
    "Connection",
    "ConnectionToken",
    "DeliveryAttempt",
    "DeliveryPause",
    "LoggedRequest",
    "OutboxMessage",
    "Passage",
    "Pulse",
    "RejectedRecord",
    "RunLease",
    "RunPage",
    "Stream",
    "SyncLink",
    "SyncRun",
    "TermCode",
    "WebhookSubscription",
]
