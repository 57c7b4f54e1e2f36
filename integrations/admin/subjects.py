"""What messages are about, for a page of them at once: the student or the alert, with a link for those who may follow it."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from integrations.models import Alert, OutboxMessage
from registration.models import Student


class MessageList(ChangeList):
    """A list of messages that knows whom each is about: two statements for a page, however long."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        find_subjects(request, self.result_list)


def find_subjects(request: HttpRequest, messages: list[Any]) -> None:
    """Put the student beside each message (`student`), and how its subject is shown (`shown_subject`)."""
    students = Student.objects.in_bulk(_named(messages, "student"))
    alerts = Alert.objects.in_bulk(_named(messages, "alert"))
    for message in messages:
        message.student = students.get(message.payload.get("student"))
        message.shown_subject = _shown(request, message, alerts.get(message.payload.get("alert")))


def _named(messages: list[OutboxMessage], what: str) -> set[int]:
    return {message.payload[what] for message in messages if what in message.payload}


def _shown(request: HttpRequest, message: Any, alert: Alert | None) -> str | SafeString:
    if message.student is not None:
        student: Student = message.student
        if not request.user.has_perm("registration.view_student"):
            return student.number
        address = reverse("admin:registration_student_change", args=[student.pk])
        return format_html('<a href="{}#library">{}</a>', address, student)
    if alert is not None:
        if not request.user.has_perm("integrations.view_alert"):
            return alert.title
        return format_html('<a href="{}">{}</a>', alert.page, alert.title)
    return str(message.subject)
