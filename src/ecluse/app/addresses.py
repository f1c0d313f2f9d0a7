"""Who can reach an address."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Of names only ``localhost`` is believed."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
