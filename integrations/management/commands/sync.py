"""Sync a connection here and now: `manage.py sync SLUG [--dataset NAME] [--dry-run] [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from integrations.management.output import Outcome, OutcomeCommand, Refusal, add_slug
from integrations.management.reports import (
    EXIT_APPLIED,
    EXIT_FAILED,
    EXIT_HELD,
    NO_RUN,
    exit_status_of,
    line_of,
    report_of,
)
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunStatus, RunTrigger
from integrations.notices import send_alerts
from integrations.operations import AlreadyRunning, NotSyncable, ask_for_everything, request_run
from integrations.sync.runner import execute_run


class Command(OutcomeCommand):
    nothing = NO_RUN
    help = "Sync a connection now, in this process: it needs no worker and no broker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_slug(parser)
        parser.add_argument("--dataset", help="one dataset of the connection; all of them otherwise")
        parser.add_argument("--dry-run", action="store_true", help="plan, and change nothing")
        parser.add_argument(
            "--full", action="store_true", help="read everything, also where only changes are asked for"
        )

    def outcome(self, **options: Any) -> Outcome:
        """Exit status 0 applied or nothing to do, 2 held, 1 failed; of several datasets, the worst."""
        streams = streams_of(options["slug"], options["dataset"])
        if options["full"]:
            ask_for_everything(streams)
        runs = [self._run(stream, dry_run=options["dry_run"]) for stream in streams]
        send_alerts()
        reports = [report_of(run) for run in runs]
        statuses = {exit_status_of(run) for run in runs}
        status = next((code for code in (EXIT_FAILED, EXIT_HELD) if code in statuses), EXIT_APPLIED)
        data: Any = reports[0] if len(reports) == 1 else reports
        return Outcome(data, [line_of(run) for run in runs], status)

    def _run(self, stream: Stream, *, dry_run: bool) -> SyncRun:
        try:
            run = request_run(stream, RunTrigger.COMMAND, dry_run=dry_run)
        except NotSyncable as error:
            raise Refusal(str(error)) from None
        except AlreadyRunning as error:
            return self._finish(error.run, dry_run=dry_run)
        return execute_run(run.pk)

    def _finish(self, live: SyncRun, *, dry_run: bool) -> SyncRun:
        """Do a run that still waits for a worker, or whose process has died; what somebody is at is theirs. Whoever asks
        for a preview does not set off what is more than one, nor the other way round."""
        is_free = live.status == RunStatus.QUEUED or SyncRun.objects.lapsed(timezone.now()).filter(pk=live.pk)
        if not is_free or live.is_dry_run != dry_run:
            raise Refusal(str(AlreadyRunning(live)))
        done = execute_run(live.pk)
        if done.is_live:
            raise Refusal(str(AlreadyRunning(done)))
        return done


def streams_of(slug: str, dataset: str | None) -> list[Stream]:
    """The declared streams of a connection, or the one of `dataset`. Raises Refusal when there is none."""
    connection = Connection.objects.present().filter(slug=slug).first()
    if connection is None:
        known = ", ".join(Connection.objects.present().values_list("slug", flat=True)) or "none yet"
        raise Refusal(f"There is no connection {slug!r}. There are: {known}.")
    streams = list(connection.streams.filter(declared=True).select_related("connection"))
    chosen = [stream for stream in streams if dataset in (None, stream.dataset)]
    if not chosen:
        known = ", ".join(stream.dataset for stream in streams) or "none"
        raise Refusal(f"{connection.name} has no dataset {dataset or ''}. It has: {known}.")
    return chosen
