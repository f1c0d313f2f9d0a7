"""Who can reach an address."""

from __future__ import annotations

import pytest

from ecluse.app.addresses import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_only(host: str) -> None:
    """All of 127.0.0.0/8, its counterpart of IPv6, and the name everybody gives them."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["192.168.0.1", "::", "fe80::1", "127.evil.example", "127.0.0.1.example", "127", ""]
)
def test_others_too(host: str) -> None:
    """A name that only looks like an address of ours may be anybody's."""
    assert not is_loopback(host)
