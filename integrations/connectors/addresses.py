"""Addresses that an administrator enters: whole, over HTTP, and without a credential in them."""

from __future__ import annotations

from pydantic import HttpUrl, TypeAdapter

_URL = TypeAdapter(HttpUrl)


def check_address(value: str) -> str:
    """Return an absolute http or https address without a slash at its end. Raises ValueError for anything else."""
    url = _URL.validate_python(value)
    if url.username or url.password:
        raise ValueError("credentials belong into auth, not into the address")
    if url.query or url.fragment:
        raise ValueError("parameters belong into the dataset's params, not into the address")
    return value.rstrip("/")
