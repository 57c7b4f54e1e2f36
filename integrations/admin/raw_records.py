"""Who sees a record as it came: one that may say where a student can be found, only those who may look at that."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

from integrations.datasets import DATASETS
from integrations.models import Stream

HIDDEN: Final = "Not shown: it may say where a student can be found, and whom to call. Who may look at contact data sees it here."


def may_see_raw(request: HttpRequest, stream: Stream) -> bool:
    """Whether this person may see the rejected records of a feed as they came. Each page that shows them is a look, and on
    the trail."""
    dataset = DATASETS[stream.dataset]
    wanted = ["integrations.view_rejectedrecord", *([dataset.masked_for] if dataset.masked_for else [])]
    return request.user.has_perms(wanted)
