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

from integrations.models.sealed import key_ring

MIN_LEASE_SECONDS: Final = 2


@register()
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What every installation needs to be right."""
    found: list[CheckMessage] = []
    try:
        key_ring()
    except ImproperlyConfigured as error:
        found.append(Error(str(error), id="matricula.E001"))
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
                id="matricula.E004",
            )
        )
    return found


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
    )
    return [Error(text, hint=hint, id=f"matricula.{code}") for is_so, text, hint, code in faults if is_so]
