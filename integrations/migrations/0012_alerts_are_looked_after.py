import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

from apiauth.roles import grant, withdraw

PERMISSIONS = {"Administrator": ["view_alert", "triage_alert"], "Auditor": ["view_alert"]}


def keep_who_was_told(apps, schema_editor):
    """Whoever had a letter about an incident has been told of it; nobody is written to about what was over before."""
    alerts = apps.get_model("integrations", "Alert").objects
    alerts.filter(sent_at__isnull=False).update(told_at=F("sent_at"))
    alerts.filter(resolved_at__isnull=False).update(over_told_at=F("resolved_at"))


def forget_who_was_told(apps, schema_editor):
    apps.get_model("integrations", "Alert").objects.filter(told_at__isnull=False).update(sent_at=F("told_at"))


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "integrations", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0011_term_code_permissions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="alert",
            options={
                "ordering": ["-id"],
                "permissions": [("triage_alert", "Can acknowledge, assign and snooze alerts")],
            },
        ),
        migrations.AddField(
            "alert",
            "severity",
            models.PositiveSmallIntegerField(choices=[(1, "Low"), (2, "Normal"), (3, "Urgent")], default=2),
        ),
        migrations.AddField(
            "alert",
            "owner",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="owned_alerts",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField("alert", "acknowledged_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("alert", "snooze_ends_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "alert",
            "snoozes",
            models.PositiveIntegerField(
                default=0, help_text="How often it has come back from being put off."
            ),
        ),
        migrations.AddField(
            "alert",
            "told_at",
            models.DateTimeField(blank=True, help_text="When the letters about it were written.", null=True),
        ),
        migrations.AddField(
            "alert",
            "over_told_at",
            models.DateTimeField(
                blank=True, help_text="When the letters that it is over were written.", null=True
            ),
        ),
        migrations.RunPython(keep_who_was_told, forget_who_was_told),
        migrations.RemoveField("alert", "sent_at"),
        migrations.RemoveField("alert", "claim_ends_at"),
        migrations.AddConstraint(
            "alert",
            models.CheckConstraint(condition=Q(severity__in=[1, 2, 3]), name="alert_severity_known"),
        ),
        migrations.AddIndex("alert", models.Index(fields=["incident", "-id"], name="alert_of_an_incident")),
        migrations.CreateModel(
            name="AlertSubscription",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="alert_subscription",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "letters",
                    models.CharField(
                        choices=[
                            ("all", "All at once"),
                            ("normal", "Urgent and normal ones at once, low ones in the letter of the day"),
                            ("urgent", "Urgent ones at once, the others in the letter of the day"),
                            ("daily", "All in the letter of the day"),
                            ("none", "No letters"),
                        ],
                        default="normal",
                        max_length=6,
                    ),
                ),
                (
                    "connections",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Alerts of these connections, and of the installation. None chosen: of all.",
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(letters__in=["all", "normal", "urgent", "daily", "none"]),
                        name="alert_subscription_letters_known",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="AlertNotice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "moment",
                    models.CharField(
                        choices=[
                            ("opened", "It began"),
                            ("again", "It is still there after it was put off"),
                            ("given", "It was given to this person"),
                            ("over", "It is over"),
                        ],
                        max_length=6,
                    ),
                ),
                (
                    "occasion",
                    models.PositiveIntegerField(
                        default=0, help_text="Tells apart what may happen more than once."
                    ),
                ),
                (
                    "is_daily",
                    models.BooleanField(
                        default=False, help_text="Whether it goes into the letter of the day."
                    ),
                ),
                ("due_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("claim_ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notices",
                        to="integrations.alert",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "indexes": [
                    models.Index(
                        condition=Q(sent_at__isnull=True), fields=["due_at"], name="alert_notice_owed"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["alert", "person", "moment", "occasion"], name="alert_notice_once_a_moment"
                    ),
                    models.CheckConstraint(
                        condition=Q(moment__in=["opened", "again", "given", "over"]),
                        name="alert_notice_moment_known",
                    ),
                ],
            },
        ),
        migrations.RunPython(give, take),
    ]
