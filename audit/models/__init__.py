"""The tables of the trail: events, the seals that chain them, and what stands for rows that were archived."""

from audit.models.event import AuditEvent, AuditEventQuerySet, JsonValue
from audit.models.flood import EventFlood
from audit.models.seal import DIGEST_BYTES, GENESIS, AuditCheckpoint, AuditSeal, Head

__all__ = [
    "DIGEST_BYTES",
    "GENESIS",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditEventQuerySet",
    "AuditSeal",
    "EventFlood",
    "Head",
    "JsonValue",
]
