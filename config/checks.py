"""Checks of the installation: what would go wrong later is said at the start, with what to do.

The deploy checks are errors, not warnings: `manage.py check --deploy` fails on anything insecure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from apiauth.roles import ROLES
from apiauth.sealed import key_ring
from audit.database_roles import excess_rights
from audit.signing import verifying_keys
from registration.ledger_export import ledger_accounts

MIN_LEASE_SECONDS: Final = 2
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}")


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What every installation needs to be right."""
    found: list[CheckMessage] = []
    for keys, code in ((key_ring, "E001"), (verifying_keys, "E008"), (ledger_accounts, "E014")):
        try:
            keys()
        except ImproperlyConfigured as error:
            found.append(Error(str(error), id=f"matricula.{code}"))
    if not re.fullmatch(r"[A-Z]{3}", settings.CURRENCY):
        found.append(
            Error(
                f"CURRENCY is {settings.CURRENCY!r}, not an ISO 4217 code such as USD.", id="matricula.E002"
            )
        )
    if settings.RUN_LEASE_SECONDS < MIN_LEASE_SECONDS:
        found.append(
            Error(
                f"RUN_LEASE_SECONDS is {settings.RUN_LEASE_SECONDS}: a run would lose its lease while it works.",
                hint=f"Set it to {MIN_LEASE_SECONDS} or more; 30 is the default.",
                id="matricula.E003",
            )
        )
    if settings.TRUSTED_PROXY_COUNT < 0:
        found.append(
            Error(
                f"TRUSTED_PROXY_COUNT is {settings.TRUSTED_PROXY_COUNT}: a number of proxies is 0 or more.",
                id="matricula.E007",
            )
        )
    return [*found, *_check_wire(), *_check_sign_on()]


def _check_sign_on() -> list[CheckMessage]:
    """How long sessions last, and who needs a second step."""
    unknown = [role for role in settings.SECOND_STEP_ROLES if role not in ROLES]
    faults = (
        (
            min(settings.SESSION_IDLE_MINUTES, settings.SESSION_HOURS) < 1,
            "SESSION_IDLE_MINUTES and SESSION_HOURS are at least 1: nobody could stay signed on.",
            "60 and 12 are the defaults.",
            "E016",
        ),
        (
            bool(unknown),
            f"SECOND_STEP_ROLES has {', '.join(unknown)}, which is no role: those who were meant could do without a second step.",
            f"The roles are {', '.join(ROLES)}.",
            "E017",
        ),
    )
    return [Error(text, hint=hint, id=f"matricula.{code}") for is_so, text, hint, code in faults if is_so]


def _check_wire() -> list[CheckMessage]:
    """Where connections may go, and what is kept of it."""
    proxy = urlsplit(settings.EGRESS_PROXY)
    unlistable = [
        entry for entry in settings.ALLOW_PRIVATE_HOSTS if not _HOST_AND_PORT.fullmatch(entry.strip())
    ]
    faults = (
        (
            bool(unlistable),
            f"ALLOW_PRIVATE_HOSTS has {', '.join(unlistable)}, which is no host:port: it would let nobody through.",
            "Write each as the connection does, with its port: sis.campus.edu:443, 10.1.2.3:8443 or [fd12::1]:443.",
            "E004",
        ),
        (
            bool(settings.EGRESS_PROXY) and not (proxy.scheme == "http" and proxy.hostname),
            "EGRESS_PROXY is no address of an HTTP proxy.",
            "Write it as http://proxy.example.edu:3128.",
            "E005",
        ),
        (
            min(settings.REQUEST_LOG_DAYS, settings.RAW_RECORD_DAYS, settings.OUTBOX_DAYS) < 1,
            "REQUEST_LOG_DAYS, RAW_RECORD_DAYS and OUTBOX_DAYS are at least 1.",
            "14, 90 and 90 are the defaults.",
            "E006",
        ),
    )
    return [Error(text, hint=hint, id=f"matricula.{code}") for is_so, text, hint, code in faults if is_so]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What an installation that others can reach must not be."""
    faults = (
        (settings.DEBUG, "DEBUG is on: error pages show settings and data.", "Unset DEBUG.", "E010"),
        (
            urlsplit(settings.BASE_URL).scheme != "https",
            "BASE_URL is not https: passwords and sessions would travel in clear.",
            "Put TLS in front and set BASE_URL to the https address.",
            "E011",
        ),
        (
            "*" in settings.ALLOWED_HOSTS,
            "ALLOWED_HOSTS lets any host name in: links in messages could be forged.",
            "Name the hosts.",
            "E012",
        ),
        (
            settings.FAILPOINTS_DIR is not None,
            "FAILPOINTS_DIR is set: whoever can write there can stop every process that syncs.",
            "Unset it. It is for tests.",
            "E013",
        ),
    )
    return [Error(text, hint=hint, id=f"matricula.{code}") for is_so, text, hint, code in faults if is_so]


@register(Tags.database, deploy=True)
def check_database_role(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Whether the database role at hand could empty the trail. Asks the database, so that it runs as Django's own checks
    of that kind do: with `check --deploy --database default`."""
    excess = excess_rights() if databases else []
    if not excess:
        return []
    return [
        Error(
            f"The database role of DATABASE_URL may {', '.join(excess)}: whoever takes over the product could rewrite the "
            "audit trail.",
            hint="Let the owner run what `manage.py audit_roles` prints, and connect as the runtime role.",
            id="matricula.E020",
        )
    ]
