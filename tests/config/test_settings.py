"""Settings come from the environment, and say what is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Error
from pytest_django.fixtures import Settings

from config.checks import check_deployment, check_settings
from config.instance import MAX_SOCKET_PATH_BYTES, broker_socket, kept_key

pytestmark = pytest.mark.any_database  # processes with an environment of their own

ROOT = Path(__file__).resolve().parents[2]


def run_manage(*arguments: str, instance: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py in an environment that has nothing of ours but what is given."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**kept, "INSTANCE_DIR": str(instance), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_with_redis_the_keys_are_asked_for_in_words(tmp_path: Path) -> None:
    done = run_manage("check", instance=tmp_path, REDIS_URL="redis://127.0.0.1:6379/0")
    assert done.returncode != 0
    assert "SECRET_KEY is not set. With REDIS_URL set the keys are yours to give" in done.stderr


def test_an_insecure_deployment_fails_the_check(tmp_path: Path) -> None:
    done = run_manage("check", "--deploy", instance=tmp_path, DEBUG="1", BASE_URL="http://hub.example.edu")
    assert done.returncode != 0
    assert "matricula.E010" in done.stderr
    assert "matricula.E011" in done.stderr


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = kept_key(tmp_path, "secret_key")
    assert kept_key(tmp_path, "secret_key") == made
    assert kept_key(tmp_path, "credential_keys") != made
    assert (tmp_path / "keys" / "secret_key").stat().st_mode & 0o077 == 0


def test_a_deep_instance_folder_still_has_a_socket_that_can_be_bound(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    assert len(os.fsencode(broker_socket(deep))) <= MAX_SOCKET_PATH_BYTES
    assert broker_socket(deep) == broker_socket(deep)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("CREDENTIAL_KEYS", ["too-short"], "matricula.E001"),
        ("CURRENCY", "dollars", "matricula.E002"),
        ("RUN_LEASE_SECONDS", 0, "matricula.E003"),
        ("ALLOW_PRIVATE_HOSTS", ["sis.campus.edu"], "matricula.E004"),
        ("ALLOW_PRIVATE_HOSTS", ["https://sis.campus.edu:443"], "matricula.E004"),
        ("ALLOW_PRIVATE_HOSTS", ["fd12::1:443"], "matricula.E004"),
        ("EGRESS_PROXY", "proxy.example.edu:3128", "matricula.E005"),
        ("EGRESS_PROXY", "https://proxy.example.edu", "matricula.E005"),
        ("REQUEST_LOG_DAYS", 0, "matricula.E006"),
        ("RAW_RECORD_DAYS", -1, "matricula.E006"),
        ("OUTBOX_DAYS", 0, "matricula.E006"),
        ("TRUSTED_PROXY_COUNT", -1, "matricula.E007"),
    ],
)
def test_a_setting_that_would_break_later_is_named_at_the_start(
    settings: Settings, name: str, value: object, code: str
) -> None:
    setattr(settings, name, value)
    assert [message.id for message in check_settings(None) if isinstance(message, Error)] == [code]


def test_hosts_and_a_proxy_that_are_right_pass(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_HOSTS = ["sis.campus.edu:443", " 10.1.2.3:80", "[fd12::1]:443"]
    settings.EGRESS_PROXY = "http://proxy.example.edu:3128"
    assert check_settings(None) == []


def test_no_private_host_is_reachable_but_those_of_the_variable_and_of_the_demo(tmp_path: Path) -> None:
    def allowed(**environment: str) -> str:
        read = "from django.conf import settings; print(settings.ALLOW_PRIVATE_HOSTS)"
        return run_manage("shell", "-v0", "-c", read, instance=tmp_path, **environment).stdout.strip()

    assert allowed() == "[]"
    (tmp_path / "simulator-aid.port").write_text("40123\n")
    (tmp_path / "simulator-odd.port").write_text("no port")
    assert allowed() == "['127.0.0.1:40123']"
    assert allowed(ALLOW_PRIVATE_HOSTS="a.example:1") == "['a.example:1', '127.0.0.1:40123']"


def test_a_safe_deployment_passes(settings: Settings) -> None:
    settings.BASE_URL, settings.ALLOWED_HOSTS, settings.DEBUG = (
        "https://hub.example.edu",
        ["hub.example.edu"],
        False,
    )
    assert check_deployment(None) == []
    settings.ALLOWED_HOSTS, settings.FAILPOINTS_DIR = ["*"], "/tmp/points"  # noqa: S108 - nothing is put there
    assert [message.id for message in check_deployment(None)] == ["matricula.E012", "matricula.E013"]
