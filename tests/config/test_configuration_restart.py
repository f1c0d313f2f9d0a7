"""What a reload cannot change stays as it is, and is told."""

from __future__ import annotations

from ecluse.config.load import parse
from ecluse.config.restart import held_back

SETTLED = """
[server]
host = "0.0.0.0"
port = 1
trusted_proxies = ["10.0.0.0/8"]
drain_seconds = 1
log = "text"
[storage]
directory = "elsewhere"
"""
LIVE = '[server]\nroot_path = "/ai"\nmax_body_bytes = 7\n[discovery]\nlocal = false\n'


def test_what_needs_a_restart_is_held_back() -> None:
    """Every key of which the process has made use already, by the name it has in the file."""
    running = parse("", "x")
    possible, differing = held_back(running, parse(SETTLED, "x"))
    assert possible == running
    assert differing == [
        "server.host",
        "server.port",
        "server.trusted_proxies",
        "server.drain_seconds",
        "server.log",
        "storage.directory",
    ]


def test_everything_else_passes() -> None:
    """Beside what is held back as well."""
    wanted = parse(LIVE, "x")
    assert held_back(parse("", "x"), wanted) == (wanted, [])
    both = parse(LIVE.replace("[server]\n", '[server]\nlog = "text"\n'), "x")
    assert held_back(parse("", "x"), both) == (wanted, ["server.log"])
