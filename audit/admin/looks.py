"""Looks at people's records: each page that shows some is one event, committed before the page is answered.

One event a page and not one a row: a list of a hundred students says how many it showed of how many, and what was asked for;
who looks through lists all day leaves that on the trail, and the trail stays readable. A page that comes down to one person
names them, so that it is found on their own trail. A failure to write the event is a failure of the page.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any, Final

from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, ChangeList
from django.core.paginator import Page
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

import audit
from audit.admin.bases import TrailedAdmin
from audit.models import JsonValue

# What of a query is nobody's data: which page, in which order. A list adds its own filters.
HARMLESS: Final = frozenset({PAGE_VAR, ORDER_VAR, ALL_VAR})
MASK: Final = "••••"
# What the admin's own parameters are called.
_NAME: Final = re.compile(r"[a-z0-9_]{1,80}")
_MAX_PARAMETERS: Final = 20
_MAX_VALUE: Final = 80


class LooksAreAudited(TrailedAdmin):
    """Pages that show people's records. A list, the page of a row and its history leave an event by themselves; a page that
    an admin adds calls `record_look`."""

    # How a record leads to the number of the student it is about, such as "account.student.number"; empty where none does.
    student_number = ""
    # False where the list names nobody, and only the page of a row does.
    lists_records = True

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer: HttpResponse = super().changelist_view(request, extra_context)
        shown = answer.context_data if isinstance(answer, TemplateResponse) else None
        changes: ChangeList | None = (shown or {}).get("cl")
        if changes is not None and self.lists_records:
            filters = {str(name) for spec in changes.filter_specs for name in spec.expected_parameters()}
            self.record_look(
                request, rows=list(changes.result_list), found=changes.result_count, unmasked=filters
            )
        return answer

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Whatever the method: a form that is sent with a fault comes back with all that the page shows."""
        answer = super().changeform_view(request, object_id, form_url, extra_context)
        context = (answer.context_data or {}) if isinstance(answer, TemplateResponse) else {}
        if (row := context.get("original")) is not None:
            records = self.records_on(context)
            self.record_look(
                request,
                row=row,
                rows=None if records is None else list(records),
                found=None if records is None else records.paginator.count,
            )
        return answer

    def records_on(self, context: Mapping[str, Any]) -> Page[Any] | None:
        """The page of records that stand on the page of a row; None where the row itself is the record."""
        return None

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer = super().history_view(request, object_id, extra_context)
        context = (answer.context_data or {}) if isinstance(answer, TemplateResponse) else {}
        if (row := context.get("object")) is not None:
            self.record_look(request, row=row)
        return answer

    def record_look(
        self,
        request: HttpRequest,
        *,
        row: models.Model | None = None,
        rows: Collection[Any] | None = None,
        found: int | None = None,
        unmasked: Collection[str] = (),
    ) -> None:
        """Put a look on the trail: at the page of `row`, at a list that shows `rows` of the `found` ones, or at both.

        `unmasked` names the parameters of the query whose values are nobody's data.
        """
        action = f"{self.opts.model_name}.{'listed' if row is None else 'viewed'}"
        detail: dict[str, JsonValue] = {}
        if rows is not None:
            detail["shown"] = len(rows)
            detail["found"] = len(rows) if found is None else found
        if query := masked_query(request.GET, unmasked):
            detail["query"] = query
        numbers = self._numbers_of([row] if rows is None else rows)
        if len(numbers) == 1:
            detail["student"] = numbers.pop()
        audit.record(action, row if row is not None else self.model(), detail=detail)

    def _numbers_of(self, records: Collection[Any]) -> set[str]:
        """The numbers of the students whom the records are about; a record may be about nobody who is known."""
        path = self.student_number.split(".") if self.student_number else []
        numbers = (reduce(lambda part, name: getattr(part, name, None), path, each) for each in records)
        return {str(number) for number in numbers if path and number is not None}


class AuditedSuggestions(AutocompleteJsonView):
    """What a field of a form suggests while somebody types: where it suggests people, each answer is a look at them."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        if isinstance(self.model_admin, LooksAreAudited):
            rows = list(context["object_list"])
            self.model_admin.record_look(self.request, rows=rows, found=context["paginator"].count)
        return context


def masked_query(query: Mapping[str, str], unmasked: Collection[str] = ()) -> dict[str, JsonValue]:
    """What was asked for, without what was typed: a name that is looked for is somebody's, and a parameter may hold one."""
    harmless = HARMLESS | set(unmasked)
    return {
        name if _NAME.fullmatch(name) else MASK: query[name][:_MAX_VALUE] if name in harmless else MASK
        for name in list(query)[:_MAX_PARAMETERS]
    }
