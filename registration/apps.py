"""The room of student records."""

from django.apps import AppConfig


class RegistrationConfig(AppConfig):
    name = "registration"
    verbose_name = "Registration"

    def ready(self) -> None:
        # Imported here: models are ready only now.
        from registration.admin.disclosures import register_disclosure_panel  # noqa: PLC0415
        from registration.trails import register_trails  # noqa: PLC0415

        register_trails()
        register_disclosure_panel()
