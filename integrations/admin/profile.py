"""What the student profile shows of the boundary: where each aid entry came from, and how the library account stands."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from integrations.admin.library import library_context
from integrations.models import Change, SyncRun
from registration.models import LedgerEntry, Student
from registration.panels import Panel, register_panel


def register_profile_panels() -> None:
    """Fill the student profile's panels; called once, at start."""
    register_panel(
        Panel(
            "Financial aid",
            "admin/integrations/aid_panel.html",
            _aid_context,
            permission="registration.view_ledgerentry",
        )
    )
    register_panel(
        Panel(
            "Library",
            "admin/integrations/library_panel.html",
            library_context,
            permission="registration.view_libraryaccount",
        )
    )


def _aid_context(request: HttpRequest, student: Student) -> dict[str, Any]:
    """Each aid entry with the record it stands for and the run that posted it; links for those who may follow."""
    entries = list(
        LedgerEntry.objects.from_aid().filter(account_id=student.pk).select_related("term").order_by("-id")
    )
    changes = Change.objects.in_bulk([entry.posted_change for entry in entries if entry.posted_change])
    runs = SyncRun.objects.select_related("stream__connection").in_bulk(
        [run for entry in entries for run in (entry.posted_run, entry.voided_run) if run]
    )
    return {
        "rows": [
            {
                "entry": entry,
                "change": changes.get(entry.posted_change or 0),
                "run": runs.get(entry.posted_run or 0),
                "voided_run": runs.get(entry.voided_run or 0),
            }
            for entry in entries
        ],
        "may_see_runs": request.user.has_perm("integrations.view_syncrun"),
    }
