"""Composition: settings, URLs, the beat table and the entry points of each process."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
