"""Who may call: our own user and consumer from the very first migration, held to their rules by the database."""

from __future__ import annotations

import datetime
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection, migrations, models
from oauth2_provider.models import get_application_model

from apiauth.models import (
    Authenticator,
    Consumer,
    ConsumerUsage,
    ExpiryReminder,
    RecoveryCode,
    StaffSession,
    User,
)
from apiauth.secrets import digest_of
from tests.refusals import Case, insert, named_constraints, refused_by

pytestmark = pytest.mark.django_db

ADA, LIBRARY = 1_000_001, 1_000_000  # their ids: beyond those that the database gives
HOUR = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
LATER = {"hour_at": HOUR + datetime.timedelta(hours=1)}
RIGHT: dict[type[models.Model], dict[str, Any]] = {
    User: {"username": "rita", "email": "rita@example.edu"},
    Consumer: {
        "name": "Housing office",
        "client_id": "housing",
        "client_type": "confidential",
        "authorization_grant_type": "client-credentials",
    },
    ConsumerUsage: {"consumer_id": LIBRARY, "hour_at": HOUR, "requests": 1},
    ExpiryReminder: {"consumer_id": LIBRARY, "expires_on": HOUR.date(), "days": 7},
    Authenticator: {"user_id": ADA},
    RecoveryCode: {"user_id": ADA, "digest": "d1"},
    StaffSession: {"session_key": "k1", "session_data": "", "expire_date": HOUR, "user_id": ADA},
}
OTHER_GRANTS = [value for value, _ in Consumer.GRANT_TYPES if value != Consumer.GRANT_CLIENT_CREDENTIALS]
CASES = [
    *(
        Case("consumer_client_credentials_only", Consumer, {"authorization_grant_type": each})
        for each in [*OTHER_GRANTS, ""]
    ),
    *(Case("consumer_client_credentials_only", Consumer, {"client_type": each}) for each in ("public", "")),
    Case("consumer_named", Consumer, {"name": ""}),
    Case("consumer_name_unique", Consumer, {"name": "Library"}),
    Case("consumer_name_unique", Consumer, {"name": "LIBRARY", "status": "suspended"}),
    *(Case("consumer_status_known", Consumer, {"status": each}) for each in ("", "Active", "deleted")),
    Case("consumer_hourly_limit_positive", Consumer, {"hourly_limit": 0}),
    Case("consumer_secret_is_a_digest", Consumer, {"hash_client_secret": False}),
    Case("consumer_secret_is_a_digest", Consumer, {"client_secret": "pbkdf2_sha256$1$salt$digest"}),
    Case("consumer_previous_secret_ends", Consumer, {"previous_secret": digest_of("x")}),
    Case("consumer_previous_secret_ends", Consumer, {"previous_secret_ends_at": HOUR}),
    Case(
        "consumer_previous_secret_ends",
        Consumer,
        {"previous_secret": "clear", "previous_secret_ends_at": HOUR},
    ),
    Case("consumer_usage_counts_something", ConsumerUsage, {"requests": 0}),
    Case("consumer_usage_once_an_hour", ConsumerUsage, LATER),
    Case("expiry_reminder_once_a_day_and_end", ExpiryReminder, {"days": 1}),
    Case("recovery_code_has_a_digest", RecoveryCode, {"digest": ""}),
    Case("recovery_code_once_a_person", RecoveryCode, {"digest": "d2"}),
    Case("user_email_unique", User, {"email": "ada@example.edu"}),
    Case("user_email_unique", User, {"email": "ADA@Example.EDU"}),
]


@pytest.fixture(autouse=True)
def ada(db: None) -> User:
    """Somebody who has used a recovery code."""
    ada = User.objects.create_user("ada", "ada@example.edu", pk=ADA)
    RecoveryCode.objects.create(user=ada, digest="d2")
    return ada


@pytest.fixture(autouse=True)
def library(db: None) -> Consumer:
    """The library, with an hour of usage and a reminder."""
    made: Consumer = Consumer.objects.create(
        **RIGHT[Consumer] | {"pk": LIBRARY, "name": "Library", "client_id": "library"}
    )
    ConsumerUsage.objects.create(consumer=made, requests=1, **LATER)
    ExpiryReminder.objects.create(consumer=made, expires_on=HOUR.date(), days=1)
    return made


def test_each_named_constraint_has_a_case_that_breaks_it() -> None:
    assert {case.constraint for case in CASES} == set(named_constraints("apiauth"))
    assert len(OTHER_GRANTS) >= 4


def test_each_model_is_tried() -> None:
    assert set(RIGHT) == set(apps.get_app_config("apiauth").get_models())


@pytest.mark.parametrize("model", RIGHT, ids=lambda model: model.__name__)
def test_a_row_that_is_right_is_accepted(model: type[models.Model]) -> None:
    row = insert(model, RIGHT[model])
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_insert_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    with refused_by(case.constraint):
        insert(case.model, RIGHT[case.model] | case.wrong_values())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_update_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    row = insert(case.model, RIGHT[case.model])
    with refused_by(case.constraint):
        case.model._default_manager.filter(pk=row.pk).update(**case.wrong_values())


def test_any_number_of_accounts_have_no_address() -> None:
    for username in ("one", "two"):
        insert(User, {"username": username, "email": ""})
    assert User.objects.filter(email="").count() == 2


def test_a_revoked_consumer_gives_its_name_free() -> None:
    insert(Consumer, RIGHT[Consumer] | {"name": "Old", "client_id": "1", "status": "revoked"})
    insert(Consumer, RIGHT[Consumer] | {"name": "Old", "client_id": "2", "status": "revoked"})
    mine = insert(Consumer, RIGHT[Consumer] | {"name": "Old", "client_id": "3"})
    assert Consumer.objects.called("old").first() == mine


def test_a_consumer_s_secret_is_not_kept_in_the_clear() -> None:
    secret = "a-secret-that-is-shown-once"
    consumer = Consumer.objects.create(**RIGHT[Consumer], client_secret=secret)
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_secret FROM apiauth_consumer WHERE id = %s", [consumer.pk])
        [kept] = cursor.fetchone()
    assert secret not in kept
    assert len(kept) > 40
    assert consumer.knows_secret(secret, HOUR)


# --- ours from the first migration ------------------------------------------------------------------------


def test_the_user_and_the_consumer_are_ours() -> None:
    assert settings.AUTH_USER_MODEL == "apiauth.User"
    assert settings.OAUTH2_PROVIDER_APPLICATION_MODEL == "apiauth.Consumer"
    assert get_user_model() is User
    assert get_application_model() is Consumer


def test_the_very_first_migration_makes_both() -> None:
    first = import_module("apiauth.migrations.0001_initial").Migration
    made = {operation.name for operation in first.operations if isinstance(operation, migrations.CreateModel)}
    assert first.initial is True
    assert made == {"User", "Consumer"}


def test_the_tables_that_they_stand_in_for_were_never_made() -> None:
    tables = set(connection.introspection.table_names())
    assert {"apiauth_user", "apiauth_consumer"} <= tables
    assert not {"auth_user", "oauth2_provider_application"} & tables


def test_no_page_of_the_admin_shows_a_token_or_hands_out_a_grant() -> None:
    shown = {model._meta.label for model in admin.site._registry}
    assert "apiauth.User" in shown
    assert {label for label in shown if label.startswith("oauth2_provider.")} == set()
