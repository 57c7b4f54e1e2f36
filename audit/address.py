"""Where a request came from. A header that the caller wrote is believed only where a proxy of ours stands in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from django.conf import settings


def client_address(meta: Mapping[str, str]) -> str:
    """The address of whoever made the request, from its WSGI environment; empty when there is none (a Unix socket).

    Each proxy appends whom it heard to X-Forwarded-For, so that of TRUSTED_PROXY_COUNT proxies the outermost wrote the
    entry that is as many from the right; what stands left of it is the caller's own invention. With no trusted proxy the
    header is not read at all. A request that did not come through all of them counts as the peer's.
    """
    peer = _normal(meta.get("REMOTE_ADDR", ""))
    proxies = settings.TRUSTED_PROXY_COUNT
    if not proxies:
        return peer
    heard = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if len(heard) < proxies:
        return peer
    return _normal(heard[-proxies]) or peer


def _normal(text: str) -> str:
    """An address in its one spelling, an IPv4 address in IPv6 clothes as itself; empty for what is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
