"""What an operation says when it is not done."""

from __future__ import annotations


class Refused(Exception):
    """The operation was not done. Its text says why, and what can be done instead."""
