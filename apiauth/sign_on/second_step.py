"""The second step of signing on: a code of an authenticator app (RFC 6238), or a recovery code, each taken once."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b32encode
from typing import Final

import pyotp
import segno
from django.conf import settings
from django.db import transaction
from django.utils import timezone

import audit
from apiauth.models import Authenticator, RecoveryCode, User
from apiauth.roles import ADMINISTRATOR

ISSUER: Final = "Matricula"
STEP_SECONDS: Final = 30
# Clocks differ: the code before and the one after are taken too (RFC 6238, 5.2).
STEPS_ASIDE: Final = 1
RECOVERY_CODES: Final = 10
_CODE_BYTES: Final = 10
_GROUP: Final = 4


def has_second_step(user: User) -> bool:
    """Whether a password alone does not sign this person on."""
    return Authenticator.objects.filter(user=user, confirmed_at__isnull=False).exists()


def needs_second_step(user: User) -> bool:
    """Whether the installation asks this person for a second step. A superuser counts as an administrator."""
    roles = set(settings.SECOND_STEP_ROLES)
    if user.is_superuser and ADMINISTRATOR in roles:
        return True
    return bool(roles) and user.groups.filter(name__in=roles).exists()


def prepare_authenticator(user: User) -> Authenticator:
    """The authenticator that the person is setting up; made where there is none. One that is in use stays as it is."""
    authenticator, is_new = Authenticator.objects.get_or_create(user=user)
    if is_new or not authenticator.secret:
        authenticator.secret = {"base32": pyotp.random_base32()}
        authenticator.save(update_fields=["secret"])
    return authenticator


def secret_of(authenticator: Authenticator) -> str:
    """The shared secret, for who types it into the app instead of reading the picture."""
    return str(authenticator.secret["base32"])


def picture_of(authenticator: Authenticator) -> str:
    """A QR code of the secret, as the address of an SVG picture that holds it: drawn here, and asked of nobody."""
    name = authenticator.user.get_username()
    address = pyotp.TOTP(secret_of(authenticator)).provisioning_uri(name=name, issuer_name=ISSUER)
    return str(segno.make(address, error="m").svg_data_uri(scale=4, border=4, light="white"))


@transaction.atomic
def confirm_authenticator(user: User, code: str) -> list[str] | None:
    """Begin to ask for the second step, once a code shows that the app has the secret.

    Returns the recovery codes, which are shown now and never again; None where the code is wrong.
    """
    authenticator = Authenticator.objects.select_for_update().get(user=user)
    if not _take_code(authenticator, code):
        return None
    authenticator.confirmed_at = timezone.now()
    authenticator.save(update_fields=["confirmed_at"])
    audit.record("user.second_step_set_up", user)
    return make_recovery_codes(user)


@transaction.atomic
def make_recovery_codes(user: User) -> list[str]:
    """New recovery codes in place of all there were."""
    codes = [_code() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(code)) for code in codes)
    audit.record("user.recovery_codes_made", user)
    return codes


@transaction.atomic
def take_second_step(user: User, code: str) -> bool:
    """Whether a code of the app, or a recovery code, is right. A right one is used up."""
    authenticator = (
        Authenticator.objects.select_for_update().filter(user=user, confirmed_at__isnull=False).first()
    )
    if authenticator is not None and _take_code(authenticator, code):
        return True
    unused = RecoveryCode.objects.filter(user=user, digest=_digest(code), used_at__isnull=True)
    if not unused.update(used_at=timezone.now()):
        return False
    left = RecoveryCode.objects.filter(user=user, used_at__isnull=True).count()
    audit.record("user.recovery_code_used", user, detail={"left": left})
    return True


@transaction.atomic
def remove_second_step(user: User, *, reason: str = "") -> bool:
    """Ask the person for a password alone from now on: they have lost the app, or do without. False: they had none."""
    removed, _ = Authenticator.objects.filter(user=user).delete()
    RecoveryCode.objects.filter(user=user).delete()
    if removed:
        audit.record("user.second_step_removed", user, reason=reason)
    return bool(removed)


def _take_code(authenticator: Authenticator, code: str) -> bool:
    """Take a code of the app: it belongs to a step near now, and to none that was taken before."""
    totp, offered = pyotp.TOTP(secret_of(authenticator)), "".join(code.split())
    now = int(timezone.now().timestamp()) // STEP_SECONDS
    for step in range(now - STEPS_ASIDE, now + STEPS_ASIDE + 1):
        if step > authenticator.last_step and secrets.compare_digest(
            totp.generate_otp(step).encode(), offered.encode()
        ):
            authenticator.last_step = step
            authenticator.save(update_fields=["last_step"])
            return True
    return False


def _code() -> str:
    text = b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _digest(code: str) -> str:
    typed = "".join(each for each in code.lower() if each.isalnum())
    return hashlib.sha256(typed.encode()).hexdigest()
