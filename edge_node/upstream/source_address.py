"""From which address a node connects to others, where that says who it is: on one machine, where every node has an address of 127.0.0.0/8 and relays tell by it
where in the modelled internet a connection comes from (docs/wan.md). Pure.
"""

from ipaddress import ip_address
from typing import Final

LOOPBACK_PREFIX: Final = "127."


class SourceAddress:
    """Of a node; without one the system chooses."""

    def __init__(self, host: str = "") -> None:
        self._local = (host, 0) if host else None

    def toward(self, host: str) -> tuple[str, int] | None:
        """What to bind before connecting to a host; None: nothing. A loopback address leads to others of this machine only, and not to names, which may be anywhere."""
        return self._local if self._local is not None and _is_loopback(host) else None


def _is_loopback(host: str) -> bool:
    if not host.startswith(LOOPBACK_PREFIX):
        return False
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
