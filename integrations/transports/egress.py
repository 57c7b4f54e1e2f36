"""Which addresses a connection may reach: the public internet, and what ALLOW_PRIVATE_HOSTS lists.

A connection's address is typed by a person and its name answered for by somebody's DNS. Without this guard either could
lead our requests, with their credentials, to a database, a metadata service or another system inside. The addresses
that a name has are looked at when a socket is opened, and the socket is opened to one of these very addresses: a name
that means another address a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from django.conf import settings

from integrations.transports.errors import NotSent

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's registries of special-purpose addresses, and the metadata services that lie outside them. The first row that
# holds an address names it; what no row holds and is not global is refused all the same.
_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("169.254.169.254/32", "a metadata service's"),
        ("169.254.170.2/32", "a metadata service's"),
        ("100.100.100.200/32", "a metadata service's"),
        ("168.63.129.16/32", "a metadata service's"),
        ("192.0.0.192/32", "a metadata service's"),
        ("fd00:ec2::/32", "a metadata service's"),
        ("127.0.0.0/8", "loopback"),
        ("::1/128", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "private"),
        ("fc00::/7", "private"),
        ("fec0::/10", "private"),
        ("64:ff9b:1::/48", "private"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 clothes"),
        ("0.0.0.0/8", "reserved"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "reserved"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("5f00::/16", "reserved"),
    )
)
# IPv6 addresses that lead to the IPv4 address inside them, and how many bits stand behind that (RFC 6052, RFC 3056).
_EMBEDDING: Final = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))
# A name that is listed may have these; anything else has to be listed as the address itself. An internal system is
# private or on this machine, and never a metadata service.
_LISTABLE_BY_NAME: Final = frozenset({"private", "loopback"})


@dataclass(frozen=True)
class Refusal:
    """Why a socket was not opened: where it would have led."""

    host: str
    port: int
    address: str
    kind: str


class EgressRefused(NotSent):
    """The connection's address leads where no connection may go."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        at = "" if refusal.host == refusal.address else f" ({refusal.address})"
        super().__init__(
            f"{refusal.host}{at} is not on the public internet: its address is {refusal.kind}, and nothing was sent",
            advice=(
                "Correct the connection's address. If it is right, whoever runs Matricula lets connections reach it by "
                f"listing {_listed(refusal.host, refusal.port)} in ALLOW_PRIVATE_HOSTS (docs/operations.md)."
            ),
        )


def check_address(host: str, port: int, found: str) -> None:
    """Raise EgressRefused if `found`, an address of `host`, may not be connected to."""
    address = ip_address(found)
    kind = kind_of(address)
    if not kind:
        return
    allowed = allowed_hosts()
    if _listed(found, port) in allowed or (_listed(host, port) in allowed and kind in _LISTABLE_BY_NAME):
        return
    raise EgressRefused(Refusal(host, port, found, kind))


def kind_of(address: Address) -> str:
    """Say what keeps an address from being public; "" where nothing does."""
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    for wrapping, bits_behind in _EMBEDDING:
        if address in wrapping:
            return kind_of(IPv4Address(int(address) >> bits_behind & 0xFFFFFFFF))
    return "" if address.is_global else "reserved"


def allowed_hosts() -> frozenset[str]:
    """ALLOW_PRIVATE_HOSTS in one spelling: host:port, an IPv6 address in brackets."""
    return frozenset(entry.strip().lower() for entry in settings.ALLOW_PRIVATE_HOSTS)


def _listed(host: str, port: int) -> str:
    host = host.strip("[]").lower().rstrip(".")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
