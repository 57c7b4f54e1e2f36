"""Who is to have a library account, against who has one: asked for as sets, from what is true now and not from events.

An enrollment asks for the account at once. Where none is left, the account stays for a grace period and is ended by a
sweep, which stops before a person where it would end too many. docs/operations.md says the same in words.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

import audit
from registration.bulk import hash_joins
from registration.models import Enrollment, LibraryAccount, Student, Term
from registration.models.library import LibraryAccountQuerySet, LibraryOverride, LibraryStatus
from registration.operations.refusal import Refused
from registration.signals import library_changed

# A sweep that would end more accounts than this number AND this share of all waits for a person.
MAX_ENDED: Final = 10
MAX_ENDED_SHARE: Final = 0.10
_BY_ENROLLMENT: Final = "Enrolled in a term that gives access to the library."
_WITHOUT_ENROLLMENT: Final = "No enrollment gives access to the library any more, and the grace is over."


@dataclass(frozen=True)
class Followed:
    """How many accounts were asked for, kept after all, and put on their grace."""

    requested: int = 0
    kept: int = 0
    leaving: int = 0

    def __bool__(self) -> bool:
        return bool(self.requested or self.kept or self.leaving)


@dataclass(frozen=True)
class Sweep:
    """What a sweep of everybody did: `ended` accounts were asked to be ended, `held` wait for a person."""

    followed: Followed
    ended: int
    held: int


@transaction.atomic
def follow_library_access(students: QuerySet[Student] | None = None) -> Followed:
    """Ask for accounts of those who are entitled and have none, keep those of whoever has come back, and let the grace
    begin where nothing entitles any more. `students` is whom it is about, None everybody."""
    now = timezone.now()
    terms = _terms(now)
    accounts = LibraryAccount.objects.of_students(students)
    requested = _open_accounts(terms, students, now) + _ask_again(accounts, terms, now)
    kept = accounts.filter(grace_ends_at__isnull=False).filter(_entitling(terms)).update(grace_ends_at=None)
    followed = Followed(requested, kept, _begin_grace(accounts, terms, now))
    if requested:
        library_changed.send(
            sender=LibraryAccount,
            students=None if students is None else list(students.values_list("pk", flat=True)),
        )
    return followed


@transaction.atomic
@hash_joins()
def sweep_library_access() -> Sweep:
    """Bring everybody's account to what it should be. Accounts whose grace is over are asked to be ended, unless these are
    more than a tenth of all and more than ten: then nobody's is, until a person says so."""
    followed = follow_library_access()
    # What waits to be sent and was not, because the message was lost with a backup or by hand, is heard of again.
    library_changed.send(sender=LibraryAccount, students=None)
    ending = accounts_ending()
    count, wanted = ending.count(), LibraryAccount.objects.wanted().count()
    is_held = count > MAX_ENDED and count > MAX_ENDED_SHARE * wanted
    ended = 0 if is_held or not count else _end(ending)
    if followed or ended:
        audit.record(
            "library.swept",
            LibraryAccount(),
            detail={
                "requested": followed.requested,
                "kept": followed.kept,
                "leaving": followed.leaving,
                "ended": ended,
            },
        )
    return Sweep(followed, ended, count if is_held else 0)


def accounts_ending() -> LibraryAccountQuerySet:
    """The accounts that a sweep would end now. None, while no term is flagged as the current one: who is entitled then
    is not known."""
    now = timezone.now()
    if Term.objects.current() is None:
        return LibraryAccount.objects.none()
    return LibraryAccount.objects.ending(now).exclude(_entitling(_terms(now)))


def checksum_of(accounts: LibraryAccountQuerySet) -> str:
    """What names a set of accounts: whoever approves means these and no others."""
    ids = ",".join(str(pk) for pk in accounts.order_by("pk").values_list("pk", flat=True))
    return hashlib.sha256(ids.encode()).hexdigest()


@transaction.atomic
@hash_joins()
def approve_library_sweep(checksum: str, *, reason: str) -> int:
    """End the accounts of the sweep that was looked at, and return how many.

    Raises Refused without a reason, and when the accounts are others by now.
    """
    _check(reason)
    ending = accounts_ending()
    if not ending.exists() or checksum_of(ending) != checksum:
        raise Refused("The accounts that would be ended are others by now: look at them again.")
    ended = _end(ending)
    audit.record("library.sweep_approved", LibraryAccount(), reason=reason, detail={"ended": ended})
    return ended


# --- by hand ------------------------------------------------------------------------------------------------


def provision_by_hand(student: Student, *, reason: str) -> LibraryAccount:
    """Ask for the student's account whatever they are enrolled in, until a person says otherwise. Raises Refused without
    a reason."""
    return _override(student, LibraryOverride.PROVISION, reason)


def deprovision_by_hand(student: Student, *, reason: str) -> LibraryAccount:
    """Ask for the end of the student's account, at once and whatever they are enrolled in, until a person says otherwise.
    Raises Refused without a reason."""
    return _override(student, LibraryOverride.DEPROVISION, reason)


@transaction.atomic
def follow_enrollment_again(student: Student, *, reason: str) -> LibraryAccount:
    """Take back what a person has said: the account follows enrollment from now on. Raises Refused without a reason, and
    where nobody had said anything."""
    _check(reason)
    account = LibraryAccount.objects.select_for_update().filter(student=student).first()
    if account is None or not account.override:
        raise Refused(f"The library account of {student} follows enrollment already.")
    account.override, account.override_reason = "", ""
    account.overridden_by, account.overridden_at = "", None
    account.save(update_fields=["override", "override_reason", "overridden_by", "overridden_at"])
    audit.record(
        "library_account.override_lifted", account, reason=reason, detail={"student": student.number}
    )
    follow_library_access(Student.objects.filter(pk=student.pk))
    account.refresh_from_db()
    return account


@transaction.atomic
def _override(student: Student, override: LibraryOverride, reason: str) -> LibraryAccount:
    _check(reason)
    now, is_wanted = timezone.now(), override == LibraryOverride.PROVISION
    values = {"requested_at": now, "why": override.label, "is_wanted": is_wanted, "request_number": 0}
    account, _ = LibraryAccount.objects.select_for_update().get_or_create(student=student, defaults=values)
    if account.request_number == 0 or account.is_wanted != is_wanted or account.status in _IN_TROUBLE:
        account.request_number += 1
        account.status, account.reason = LibraryStatus.PENDING, ""
        account.requested_at, account.settled_at, account.why = now, None, override.label
    account.is_wanted, account.override, account.override_reason = is_wanted, override, reason[:500]
    account.overridden_by, account.overridden_at = audit.current_actor().name, now
    account.grace_ends_at = None
    account.save()
    audit.record(
        f"library_account.{override}_asked_by_hand",
        account,
        reason=reason,
        detail={"student": student.number},
    )
    library_changed.send(sender=LibraryAccount, students=[student.pk])
    return account


_IN_TROUBLE: Final = (LibraryStatus.FAILED, LibraryStatus.BLOCKED)


def _check(reason: str) -> None:
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the account.")


# --- what the library says ----------------------------------------------------------------------------------


@transaction.atomic
def note_library_status(
    student_id: int, request_number: int, status: LibraryStatus, *, reason: str = "", remote_id: str = ""
) -> bool:
    """Keep what came of a request. Returns whether it is still the last one: what answers an earlier request is no news
    of the account, but for the name that the library has given it."""
    account = LibraryAccount.objects.select_for_update().select_related("student").get(pk=student_id)
    if remote_id and account.remote_id != remote_id:
        account.remote_id = remote_id[:120]
        account.save(update_fields=["remote_id"])
    if account.request_number != request_number or (account.status, account.reason) == (status, reason[:500]):
        return account.request_number == request_number
    account.status, account.reason = status, reason[:500]
    if status in (LibraryStatus.PROVISIONED, LibraryStatus.DEPROVISIONED):
        account.settled_at = timezone.now()
    account.save(update_fields=["status", "reason", "settled_at"])
    audit.record(
        f"library_account.{status}",
        account,
        reason=reason,
        detail={"student": account.student.number, "request": request_number},
    )
    return True


# --- steps --------------------------------------------------------------------------------------------------


def _terms(now: datetime.datetime) -> list[int]:
    day = timezone.localdate(now)
    bridge = datetime.timedelta(days=settings.LIBRARY_BRIDGE_DAYS)
    return list(Term.objects.giving_library_access(day, bridge).values_list("pk", flat=True))


def _entitling(terms: list[int]) -> Exists:
    """The condition on an account that its student holds a seat that gives access."""
    seats = Enrollment.objects.giving_library_access(terms)
    return Exists(seats.filter(student=OuterRef("student_id")))


def _open_accounts(terms: list[int], students: QuerySet[Student] | None, now: datetime.datetime) -> int:
    """Add an account for every entitled student who has none; two who do so at once add it once."""
    seats = Enrollment.objects.giving_library_access(terms).order_by()
    if students is not None:
        seats = seats.filter(student__in=students.values("pk"))
    missing = seats.exclude(Exists(LibraryAccount.objects.filter(student=OuterRef("student_id"))))
    if not terms:
        return 0
    sql, params = missing.values("student_id").distinct().query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LibraryAccount._meta.db_table} (student_id, status, is_wanted, request_number, requested_at, "
            "why, reason, override, override_reason, overridden_by, remote_id) "
            "SELECT student_id, 'pending', %s, 1, %s, %s, '', '', '', '', '' "
            f"FROM ({sql}) AS missing WHERE 1 = 1 ON CONFLICT (student_id) DO NOTHING",
            [True, connection.ops.adapt_datetimefield_value(now), _BY_ENROLLMENT, *params],
        )
        opened: int = cursor.rowcount
        return opened


def _ask_again(accounts: LibraryAccountQuerySet, terms: list[int], now: datetime.datetime) -> int:
    """Ask for the accounts that were ended and whose students are entitled again."""
    ended = accounts.filter(is_wanted=False).exclude(override=LibraryOverride.DEPROVISION)
    return ended.filter(_entitling(terms)).update(
        is_wanted=True,
        request_number=F("request_number") + 1,
        status=LibraryStatus.PENDING,
        requested_at=now,
        settled_at=None,
        why=_BY_ENROLLMENT,
        reason="",
    )


def _begin_grace(accounts: LibraryAccountQuerySet, terms: list[int], now: datetime.datetime) -> int:
    """Say until when accounts stay that nothing entitles to. Who is entitled is not known without a current term."""
    if Term.objects.current() is None:
        return 0
    unentitled = accounts.wanted().filter(grace_ends_at__isnull=True, override="").exclude(_entitling(terms))
    return unentitled.update(grace_ends_at=now + datetime.timedelta(hours=settings.LIBRARY_GRACE_HOURS))


def _end(ending: LibraryAccountQuerySet) -> int:
    """Ask for the end of these accounts, and say so."""
    ended = ending.update(
        is_wanted=False,
        request_number=F("request_number") + 1,
        status=LibraryStatus.PENDING,
        requested_at=timezone.now(),
        settled_at=None,
        why=_WITHOUT_ENROLLMENT,
        reason="",
        grace_ends_at=None,
    )
    library_changed.send(sender=LibraryAccount, students=None)
    return ended
