"""The admin site of this installation, and the checks of its settings."""

from django.contrib.admin.apps import AdminConfig


class MatriculaAdminConfig(AdminConfig):
    default_site = "config.admin.MatriculaAdminSite"

    def ready(self) -> None:
        super().ready()
        # Imported here, for its registration: the checks know models, which are ready only now.
        import config.checks  # noqa: F401, PLC0415
