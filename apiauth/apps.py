"""The room of people and partners."""

from django.apps import AppConfig


class ApiAuthConfig(AppConfig):
    name = "apiauth"
    verbose_name = "People and partners"

    def ready(self) -> None:
        # Imported here: models are ready only now.
        from apiauth.sign_on.events import record_sign_on  # noqa: PLC0415
        from apiauth.trails import register_trails  # noqa: PLC0415

        record_sign_on()
        register_trails()
