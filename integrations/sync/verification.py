"""Verification: whether ledger and housing still say what the applied records say, row by row, as sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import connection

from integrations.alerts import Incident, raise_alert, resolve_alerts
from integrations.models import Change, SyncLink
from integrations.sync.held import links_held_by
from integrations.sync.housing_verification import HOUSING_RULES
from registration.fee_verification import FEE_DIFFERS, FEE_RULES, fees_that_differ
from registration.models import BillingAccount, LedgerEntry

# No more than this many faults of one rule are listed: the first ones say what happened.
MAX_FAULTS: Final = 100
_ENTRY, _CHANGE = LedgerEntry._meta.db_table, Change._meta.db_table
_ACCOUNT = BillingAccount._meta.db_table
# The links of records that ledger entries hold.
_LINK = links_held_by(LedgerEntry)

# Each rule: its name, the sentence for a fault, and the statement that finds what breaks it (two columns: what is
# named in the sentence). An entry that a person voided by hand is their decision, not a fault.
_LEDGER_RULES: Final = (
    (
        "record_without_entry",
        "Record {0} is live and stands for entry {1}, which is void or missing.",
        f"SELECT link.key, link.object_id FROM {_LINK} AS link LEFT JOIN {_ENTRY} AS entry ON entry.id = link.object_id "
        "WHERE link.object_id IS NOT NULL AND (entry.id IS NULL OR (entry.state = 'void' AND entry.voided_run IS NOT NULL))",
    ),
    (
        "entry_without_record",
        "Entry {0}, posted by run {1}, is live, and no live record stands for it.",
        f"SELECT entry.id, entry.posted_run FROM {_ENTRY} AS entry WHERE entry.state <> 'void' "
        "AND entry.posted_run IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM {_LINK} AS link WHERE link.object_id = entry.id)",
    ),
    (
        "amount_differs",
        "Entry {0} does not carry the amount of record {1}.",
        f"SELECT entry.id, link.key FROM {_LINK} AS link JOIN {_ENTRY} AS entry ON entry.id = link.object_id "
        "WHERE entry.amount_minor <> abs(link.amount)",
    ),
    (
        "kind_differs",
        "Entry {0} is aid where record {1} has aid that was returned, or the other way round.",
        f"SELECT entry.id, link.key FROM {_LINK} AS link JOIN {_ENTRY} AS entry ON entry.id = link.object_id "
        "WHERE (entry.kind = 'adjustment') <> (link.amount < 0)",
    ),
    (
        "state_differs",
        "Entry {0} is posted where record {1} is only accepted, or the other way round.",
        f"SELECT entry.id, link.key FROM {_LINK} AS link JOIN {_ENTRY} AS entry ON entry.id = link.object_id "
        f"JOIN {_CHANGE} AS change ON change.id = link.change_id WHERE entry.state <> 'void' "
        "AND ((entry.state = 'posted' AND change.after ->> 'status' = 'accepted') "
        "OR (entry.state = 'anticipated' AND change.after ->> 'status' = 'disbursed'))",
    ),
    (
        "student_differs",
        "Entry {0} lies on another account than the student of record {1}.",
        f"SELECT entry.id, link.key FROM {_LINK} AS link JOIN {_ENTRY} AS entry ON entry.id = link.object_id "
        f"JOIN {_CHANGE} AS change ON change.id = link.change_id WHERE entry.account_id <> change.student_id",
    ),
    (
        "currency_differs",
        "Entry {0} is in another currency than its account, {1}.",
        f"SELECT entry.id, account.currency FROM {_ENTRY} AS entry "
        f"JOIN {_ACCOUNT} AS account ON account.student_id = entry.account_id "
        "WHERE entry.currency <> account.currency",
    ),
)


@dataclass(frozen=True)
class Fault:
    """One place where the ledger does not say what it should."""

    rule: str
    sentence: str


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is wrong."""

    accounts: int
    entries: int
    records: int
    faults: list[Fault]

    def as_json(self) -> dict[str, Any]:
        return {"status": "failed" if self.faults else "ok", **asdict(self)}


def verify_ledger() -> Verification:
    """Check every rule over the whole ledger and return what breaks it."""
    return Verification(
        accounts=BillingAccount.objects.count(),
        entries=LedgerEntry.objects.count(),
        records=SyncLink.objects.count(),
        faults=list(_faults()),
    )


def watch_ledger() -> int:
    """Verify the ledger, raise an alert over what is wrong or close the one that is open; returns the faults."""
    faults = verify_ledger().faults
    if not faults:
        resolve_alerts(None, Incident.LEDGER)
        return 0
    # By rule, without the sentences: an alert is mailed, and they name students.
    by_rule = Counter(fault.rule for fault in faults)
    raise_alert(
        None,
        Incident.LEDGER,
        title="The ledger does not add up",
        text=f"{len(faults)} faults, by rule: "
        + ", ".join(f"{rule} {count}" for rule, count in sorted(by_rule.items()))
        + ". `manage.py verify_ledger` says what each is. Bills stand as they are until a person has looked.",
    )
    return len(faults)


def _faults() -> Iterator[Fault]:
    for rule, sentence, sql in (*_LEDGER_RULES, *HOUSING_RULES, *FEE_RULES):
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} LIMIT {MAX_FAULTS}")
            for row in cursor.fetchall():
                yield Fault(rule, sentence.format(*row))
    yield from (Fault(FEE_DIFFERS, sentence) for sentence in fees_that_differ(MAX_FAULTS))
