"""/healthz and /readyz: for probes, without a sign-on, and honest."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from integrations.api import health

pytestmark = pytest.mark.django_db


def test_healthz_answers_though_nothing_else_does(
    client: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_last_look", health.LastLook())
    settings.CELERY_BROKER_URL = f"redis+socket://{tmp_path}/no.sock"
    response = client.get("/healthz")
    said = {"status": "degraded", "faults": ["broker", "beat", "worker"]}
    assert (response.status_code, response.json()) == (200, said)
    # It keeps nobody waiting: what was seen is good for some seconds.
    monkeypatch.setattr(health, "diagnose", lambda: pytest.fail("it looked again"))
    assert client.get("/healthz").json() == said


def test_readyz_names_the_part_that_is_missing(client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.CELERY_BROKER_URL = f"redis+socket://{tmp_path}/no.sock"
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "database": "ok",
        "broker": "unavailable",
        "disk": "ok",
        "beat": "not seen",
        "worker": "not seen",
        "work": "ok",
        "beat_age_seconds": None,
        "worker_age_seconds": None,
        "oldest_due_seconds": 0,
    }


def test_probes_take_no_post(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
