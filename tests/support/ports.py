"""Ports for programs that must be told theirs before they start.

Tests run in several processes. Each has a range of its own, below the ports that the system gives
to connections and to whoever asks for any port, so nobody takes one between choice and use.
"""

import itertools
import os
import socket
from typing import Final

FIRST: Final = 12_000
RANGE: Final = 1_000
"""Ports of one process."""
PROCESSES: Final = 16
_WORKER: Final = int("0" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"))
_OWN: Final = FIRST + _WORKER % PROCESSES * RANGE

# Processes of another run at the same time begin elsewhere in the range.
_next = itertools.count(os.getpid() * 37 % RANGE)


def free_ports(count: int) -> list[int]:
    """Ports in a row that nobody listens on, and that were not given out before."""
    for _ in range(RANGE):
        offset = next(_next) % RANGE
        ports = [_OWN + offset + n for n in range(count)]
        if offset + count <= RANGE and all(map(_is_free, ports)):
            for _ in range(count - 1):
                next(_next)
            return ports
    raise AssertionError(f"no {count} free ports from {_OWN} on")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
