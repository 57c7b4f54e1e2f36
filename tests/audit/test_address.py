"""Whose address is on the trail: what a caller writes into a header is not believed."""

from __future__ import annotations

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from audit.address import client_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "192.0.2.9"),
        (0, "198.51.100.1", "192.0.2.9"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.5, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.5, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "10.0.0.1", "192.0.2.9"),  # it came by another road than through both
        (1, None, "192.0.2.9"),
        (1, "unknown", "192.0.2.9"),
        (1, "198.51.100.1:4711", "192.0.2.9"),
        (1, "2001:DB8:0::1", "2001:db8::1"),
        (1, "::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_as_many_entries_are_believed_as_there_are_proxies_of_ours(
    settings: Settings, proxies: int, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    meta = {"REMOTE_ADDR": "192.0.2.9"} | (
        {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded is not None else {}
    )
    assert client_address(meta) == address


def test_a_peer_behind_a_socket_has_no_address(settings: Settings) -> None:
    assert client_address({"REMOTE_ADDR": ""}) == ""
    assert client_address({}) == ""


@given(st.text(max_size=60))
def test_whatever_a_caller_writes_its_address_is_the_one_that_our_proxy_saw(written: str) -> None:
    with override_settings(TRUSTED_PROXY_COUNT=1):
        meta = {"REMOTE_ADDR": "192.0.2.9", "HTTP_X_FORWARDED_FOR": f"{written}, 198.51.100.1"}
        assert client_address(meta) == "198.51.100.1"
    with override_settings(TRUSTED_PROXY_COUNT=0):
        assert client_address({"REMOTE_ADDR": "192.0.2.9", "HTTP_X_FORWARDED_FOR": written}) == "192.0.2.9"
