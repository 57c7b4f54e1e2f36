"""The room of everything that crosses the boundary."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Connections"

    def ready(self) -> None:
        # The student profile asks for panels; this room knows of runs. Imported here: models are ready only now.
        from integrations.admin.profile import register_profile_panels  # noqa: PLC0415
        from integrations.receivers import connect_receivers  # noqa: PLC0415
        from integrations.trails import register_trails  # noqa: PLC0415

        connect_receivers()
        register_profile_panels()
        register_trails()
