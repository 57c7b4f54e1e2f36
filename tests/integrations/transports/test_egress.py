"""No connection reaches a private address, however it is named, unless somebody who runs Matricula has listed it."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from integrations.transports.egress import EgressRefused, check_address, kind_of
from integrations.transports.http import HttpTransport, Request, Timeouts
from tests.integrations.feed import may_reach, wire
from tests.integrations.test_transport import HEAD, sends

FORBIDDEN = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "private",
    "fc00::1": "private",
    "fd12:3456::1": "private",
    "fec0::1": "private",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "169.254.169.254": "a metadata service's",
    "100.100.100.200": "a metadata service's",
    "168.63.129.16": "a metadata service's",
    "fd00:ec2::254": "a metadata service's",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "ff02::1": "multicast",
    "0.0.0.0": "reserved",  # noqa: S104 - an address to be refused
    "255.255.255.255": "reserved",
    "240.0.0.1": "reserved",
    "192.0.2.1": "reserved",
    "198.51.100.7": "reserved",
    "203.0.113.9": "reserved",
    "198.18.0.1": "reserved",
    "192.88.99.1": "reserved",
    "::": "reserved",
    "2001:db8::1": "reserved",
    "2001::1": "reserved",
    "::ffff:127.0.0.1": "an IPv4 address in IPv6 clothes",
    "::ffff:8.8.8.8": "an IPv4 address in IPv6 clothes",
    "64:ff9b::127.0.0.1": "loopback",
    "64:ff9b::10.1.2.3": "private",
    "64:ff9b::169.254.169.254": "a metadata service's",
    "64:ff9b:1::8.8.8.8": "private",
    "2002:7f00:1::": "loopback",
    "2002:a00:1::1": "private",
    "2002:a9fe:a9fe::": "a metadata service's",
    "::7f00:1": "reserved",
}
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::"]  # fmt: skip


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN.items())
def test_an_address_that_is_not_public_is_refused_and_named_for_what_it_is(address: str, kind: str) -> None:
    with pytest.raises(EgressRefused, match=kind):
        check_address("sis.example.edu", 443, address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address: str) -> None:
    check_address("sis.example.edu", 443, address)


@given(address=st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_no_address_is_public_here_that_is_not_for_the_registries(address: Any) -> None:
    if not kind_of(address):
        assert address.is_global
        assert not address.is_private
        assert not address.is_multicast


@given(inner=st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_if_it_stood_alone(inner: Any) -> None:
    nat64 = ip_address((0x0064FF9B << 96) | int(inner))
    six_to_four = ip_address((0x2002 << 112) | (int(inner) << 80))
    assert kind_of(nat64) == kind_of(six_to_four) == kind_of(inner)


# --- what is listed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "host", "port", "address"),
    [
        ("sis.campus.edu:8443", "sis.campus.edu", 8443, "10.1.2.3"),
        ("SIS.Campus.edu:8443", "sis.campus.EDU", 8443, "10.1.2.3"),
        ("sis.campus.edu:443", "sis.campus.edu.", 443, "10.1.2.3"),
        ("10.1.2.3:443", "sis.campus.edu", 443, "10.1.2.3"),
        ("[fd12::1]:443", "sis.campus.edu", 443, "fd12::1"),
        ("169.254.169.254:80", "169.254.169.254", 80, "169.254.169.254"),
    ],
)
def test_what_is_listed_may_be_reached(listed: str, host: str, port: int, address: str) -> None:
    with may_reach(listed):
        check_address(host, port, address)


@pytest.mark.parametrize(
    ("listed", "host", "port", "address"),
    [
        ("sis.campus.edu:8443", "sis.campus.edu", 443, "10.1.2.3"),
        ("sis.campus.edu:443", "other.campus.edu", 443, "10.1.2.3"),
        ("sis.campus.edu", "sis.campus.edu", 443, "10.1.2.3"),
        ("campus.edu:443", "sis.campus.edu", 443, "10.1.2.3"),
        ("10.1.2.3:443", "sis.campus.edu", 443, "10.1.2.4"),
        # Whoever answers for a listed name cannot make a metadata service of it.
        ("sis.campus.edu:80", "sis.campus.edu", 80, "169.254.169.254"),
        ("sis.campus.edu:80", "sis.campus.edu", 80, "fe80::1"),
        ("sis.campus.edu:80", "sis.campus.edu", 80, "224.0.0.1"),
    ],
)
def test_only_what_is_listed_may_be_reached(listed: str, host: str, port: int, address: str) -> None:
    with may_reach(listed), pytest.raises(EgressRefused):
        check_address(host, port, address)


# --- at the socket -------------------------------------------------------------------------------------------


def get(url: str) -> bytes:
    with HttpTransport(Timeouts(1, 1, 2)) as transport:
        return transport.exchange(Request(url)).body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "[::1]", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_this_machine_is_not_reached_by_any_of_its_names(httpserver: HTTPServer, host: str) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    with override_settings(ALLOW_PRIVATE_HOSTS=[]), pytest.raises(EgressRefused) as caught:
        get(f"http://{host}:{httpserver.port}/")
    assert httpserver.log == []
    assert "nothing was sent" in str(caught.value)
    assert "ALLOW_PRIVATE_HOSTS" in caught.value.advice


class Names:
    """Stands in for DNS: each look-up of a name gets the next of its answers, the last of them for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): rows for name, rows in answers.items()}
        self.looked_up: list[str] = []
        self.original = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host not in self.answers:
            return self.original(host, port, *args, **kwargs)
        rows = self.answers[host]
        self.looked_up.append(host)
        addresses = rows.pop(0) if len(rows) > 1 else rows[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def test_a_name_is_looked_up_once_and_what_was_looked_at_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name is public when it is checked and private a moment later. Here the other way round, so
    that the test stays on this machine: it is listed and ours at first, and a metadata service's at any second look."""
    with wire(sends(HEAD + b"Content-Length: 2\r\n\r\n[]")) as url:
        port = url.rpartition(":")[2]
        names = Names(rebinding_example=[["127.0.0.1"], ["169.254.169.254"]])
        monkeypatch.setattr(socket, "getaddrinfo", names)
        with may_reach(f"rebinding.example:{port}"):
            assert get(f"http://rebinding.example:{port}/") == b"[]"
    assert names.looked_up == ["rebinding.example"]


def test_a_name_that_turns_private_between_two_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with wire(sends(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n[]")) as url:
        port = url.rpartition(":")[2]
        names = Names(rebinding_example=[["127.0.0.1"], ["169.254.169.254"]])
        monkeypatch.setattr(socket, "getaddrinfo", names)
        with may_reach(f"rebinding.example:{port}"), HttpTransport(Timeouts(1, 1, 2)) as transport:
            transport.exchange(Request(f"http://rebinding.example:{port}/"))
            with pytest.raises(EgressRefused, match="a metadata service's"):
                transport.exchange(Request(f"http://rebinding.example:{port}/?page=2"))


def test_a_name_with_a_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(mixed_example=[["8.8.8.8", "10.0.0.1"]]))
    with pytest.raises(EgressRefused, match=r"mixed\.example \(10\.0\.0\.1\)"):
        get("http://mixed.example/")


def test_every_hop_of_a_redirect_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with wire(sends(redirect)) as url:
        port = url.rpartition(":")[2]
        monkeypatch.setattr(socket, "getaddrinfo", Names(hop_example=[["127.0.0.1"], ["169.254.169.254"]]))
        with may_reach(f"hop.example:{port}"), pytest.raises(EgressRefused):
            get(f"http://hop.example:{port}/")
