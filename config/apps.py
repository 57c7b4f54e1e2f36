"""The admin site of this installation."""

from django.contrib.admin.apps import AdminConfig


class MatriculaAdminConfig(AdminConfig):
    default_site = "config.admin.MatriculaAdminSite"
