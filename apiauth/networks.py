"""Networks that a consumer may call from."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORKS = 100


@lru_cache(maxsize=512)
def parse_networks(text: str) -> tuple[Network, ...]:
    """The networks that a text names, in CIDR notation, separated by white space or commas; an address is a network of one.

    Raises ValueError in words for the first that is none.
    """
    names = text.replace(",", " ").split()
    if len(names) > MAX_NETWORKS:
        raise ValueError(
            f"These are {len(names)} networks; {MAX_NETWORKS} are the most that one consumer can have."
        )
    return tuple(_network(name) for name in names)


def is_within(address: str, networks: str) -> bool:
    """Whether an address lies in one of the networks. One that cannot be read lies in none."""
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(caller in network for network in parse_networks(networks))


def source_of(address: str) -> str:
    """Who stands behind an address when calls are counted: an IPv6 customer holds a /64 at least (RFC 6177), so one that
    changes its address within it is still one."""
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(caller, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((caller, 64), strict=False))
    return address


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError(
            f"{name[:60]!r} is no address or network such as 192.0.2.7 or 192.0.2.0/24."
        ) from None
    raise ValueError(f"{name} names one address of a network: write {meant} for the network.")
