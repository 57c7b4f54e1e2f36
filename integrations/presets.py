"""Presets: documents to start a connection from, with every part that one needs, to be written over.

A connection made from one is synced by nobody until somebody says so, and its first load, where it reads, waits for approval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Preset:
    """A starting point: what it is for, and the connection document."""

    label: str
    document: dict[str, Any]


_GENERIC_REST: Final = {
    "slug": "financial-aid",
    "name": "Financial aid office",
    "connector": "rest",
    "base_url": "https://aid.example.edu/api",
    "auth": {"type": "bearer", "token": "..."},
    "schedule": "manual",
    "guards": {"first_load": "hold"},
    "datasets": {
        "aid_awards": {
            "path": "/awards",
            "records": "data",
            "pagination": {"type": "page", "page_param": "page", "size_param": "limit", "size": 500},
            "mapping": {
                "award_id": "id",
                "student_number": "student.number",
                "term_code": "term",
                "fund_code": "fund.code",
                "amount": "amount",
                "status": {"path": "state", "lookup": {"PAID": "disbursed"}},
            },
        }
    },
}
_STARREZ: Final = {
    "slug": "starrez",
    "name": "StarRez housing",
    "connector": "starrez",
    "base_url": "https://campus.starrezhousing.com/StarRezREST/services",
    "auth": {"type": "basic", "username": "the API user", "password": "its token"},
    "schedule": "manual",
    "guards": {"first_load": "hold"},
    # The vendor publishes no limit; one request at a time disturbs nobody who works with it.
    "limits": {"concurrent": 1},
    "settings": {
        "time_zone": "America/New_York",
        "student_number": "ID1",
        "statuses": {"Tentative": "cancelled"},
        "off_campus_locations": [],
        "residence_address_type": None,
        "emergency_address_type": None,
    },
    "datasets": {"housing_assignments": {"params": {"CheckOutDate": "GREATERTHAN 2026-08-01T00:00:00"}}},
}
_WEBHOOK: Final = {
    "slug": "on-call",
    "name": "On-call webhook",
    "connector": "webhook",
    "base_url": "https://hooks.example.edu/matricula",
    # Each receiver has one of its own: none stands here that somebody might leave as it is.
    "auth": {"type": "signature", "secret": None},
    "schedule": "manual",
    "settings": {"severity": "normal", "sources": []},
}
PRESETS: Final[dict[str, Preset]] = {
    "rest": Preset("Generic REST", _GENERIC_REST),
    "starrez": Preset("StarRez", _STARREZ),
    "webhook": Preset("Webhook for alerts", _WEBHOOK),
}
USUAL_PRESET: Final = "rest"
