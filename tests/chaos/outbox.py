"""Students enroll and drop while everything is struck; afterwards every account has to be what enrollment says, and once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Sum
from django.utils import timezone

from audit.context import Actor, acting
from integrations.models import OutboxMessage
from integrations.operations import save_connection
from integrations.outbox.doorbell import ring
from integrations.outbox.library import reconcile_library
from integrations.simulators.koha import connection_document
from registration.models import Enrollment, LibraryAccount, Section, Student
from registration.models.enrollment import EnrollmentStatus
from registration.operations import drop, enroll
from tests.chaos.installation import Installation
from tests.chaos.library import Library
from tests.outbox_invariants import assert_outbox_is_sound

# So many move in a round: fewer than a sweep would hold for a person.
MOVED: Final = 6
REGISTRAR: Final = Actor(kind="command", name="chaos")


def connect(library: Library) -> None:
    """Connect the installation to the library."""
    save_connection(connection_document(f"http://{library.host}"))


def move_students(dice: random.Random) -> None:
    """Let some students enroll, and those of them who are enrolled already drop."""
    section = Section.objects.get()
    with acting(REGISTRAR):
        for student in dice.sample(list(Student.objects.order_by("pk")), MOVED):
            held = Enrollment.objects.filter(student=student, status=EnrollmentStatus.ENROLLED).first()
            if held is None:
                enroll(student, section)
            else:
                drop(held)


def broken_accounts(installation: Installation) -> Iterator[str]:
    """What does not hold of the library, once everybody has had the time to make good what was struck."""
    with acting(REGISTRAR):
        reconcile_library()
    ring()
    installation.wait_until(_is_settled, "the outbox is worked off", progress=_attempts)
    library = installation.library
    try:
        assert_outbox_is_sound()
    except AssertionError as error:
        yield f"The outbox: {error}"
    opened = Counter(card for method, card in library.koha.changes if method == "POST")
    yield from (f"{card} was opened {times} times." for card, times in opened.items() if times > 1)
    patrons = {patron["cardnumber"]: patron for patron in library.koha.patrons.values()}
    enrolled = set(
        Enrollment.objects.filter(status=EnrollmentStatus.ENROLLED).values_list("student_id", flat=True)
    )
    for account in LibraryAccount.objects.select_related("student"):
        patron = patrons.pop(account.student.number, None)
        is_open = patron is not None and patron["expiry_date"] >= timezone.localdate().isoformat()
        said = (account.status == "provisioned", is_open, account.pk in enrolled)
        if len(set(said)) > 1:
            yield f"{account}, open at the library: {is_open}, enrolled: {account.pk in enrolled}."
    yield from (f"The library has {card}, and we know of no account." for card in patrons)


def _is_settled() -> bool:
    """Whether nothing waits any more: all is delivered, or before a person."""
    try:
        return not OutboxMessage.objects.waiting().exists()
    except (OperationalError, InterfaceError):
        connection.close()
        return False


def _attempts() -> object:
    """How far the outbox has come: how many attempts were made."""
    return OutboxMessage.objects.aggregate(made=Sum("attempts"))["made"]
