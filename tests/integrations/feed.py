"""A financial-aid feed under a test's control, served over real HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

TOKEN = "a-token-of-the-feed"


def award(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A disbursed grant of 100.00 for a student of the same number, as the feed writes it."""
    return {
        "id": f"A{number:04d}",
        "disbursement": 1,
        "student": {"number": f"S{number:07d}"},
        "term": "2026FA",
        "fund": {"code": "PELL", "name": "Pell Grant", "type": "grant"},
        "amount": "100.00",
        "state": "disbursed",
        "paid_on": "2026-09-01",
        "updated_at": "2026-09-01T10:00:00Z",
        **changes,
    }


MAPPING = {
    "award_id": "id",
    "disbursement_number": "disbursement",
    "student_number": "student.number",
    "term_code": "term",
    "fund_code": "fund.code",
    "fund_name": "fund.name",
    "fund_type": "fund.type",
    "amount": "amount",
    "status": {"path": "state", "lookup": {"PAID": "disbursed"}},
    "disbursed_on": "paid_on",
    "updated_at": "updated_at",
}


@dataclass
class Feed:
    """Serves `awards` in numbered pages at /awards; `raw` is served instead, byte for byte, where it is set."""

    server: HTTPServer
    awards: list[Any] = field(default_factory=list)
    raw: bytes | None = None
    status: int = 200
    page_size: int = 100
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/awards").respond_with_handler(self._answer)

    @property
    def base_url(self) -> str:
        return self.server.url_for("").rstrip("/")

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Response('{"error": "unauthorized"}', status=401)
        if self.raw is not None:
            return Response(self.raw, status=self.status, content_type="application/json")
        start = (int(request.args.get("page", 1)) - 1) * self.page_size
        page = self.awards[start : start + self.page_size]
        body = json.dumps({"data": page, "total": len(self.awards)})
        return Response(body, status=self.status, content_type="application/json")

    def document(self, **changes: Any) -> dict[str, Any]:
        """The connection document for this feed."""
        return {
            "slug": "financial-aid",
            "name": "Financial aid office",
            "connector": "rest",
            "base_url": self.base_url,
            "auth": {"type": "bearer", "token": TOKEN},
            "schedule": {"every_minutes": 1440},
            "datasets": {
                "aid_awards": {
                    "path": "/awards",
                    "records": "data",
                    "pagination": {"type": "page", "page_param": "page"},
                    "mapping": MAPPING,
                }
            },
            "guards": {"first_load": "apply"},
            **changes,
        }
