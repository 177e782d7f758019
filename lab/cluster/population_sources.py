"""From where viewers of a load generator on this machine connect to a lab in containers: this machine has an address on the network of each population, and relays
take who comes from there for one of its viewers.

What they answer comes back over that network, and was asked over another (`internet`). A kernel that insists on one and the same way (`rp_filter` 1, RFC 3704 section
2.2) drops it, and with Docker Desktop the networks are another machine's. Then viewers connect from the system's choice, which is the place of the operator.
"""

import dataclasses
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.cluster.interface import PopulationRecord

FILTERS: Final = Path("/proc/sys/net/ipv4/conf")
_STRICT: Final = 1


def usable_sources(populations: Sequence[PopulationRecord], filters: Path = FILTERS) -> tuple[PopulationRecord, ...]:
    """The same, without sources where this machine cannot connect from them."""
    are_usable = not _is_strict(filters) and all(_is_own(each.source) for each in populations if each.source)
    return tuple(each if are_usable else dataclasses.replace(each, source="") for each in populations)


def _is_strict(filters: Path) -> bool:
    """The larger of both values counts for an interface; those that the engine makes begin with `default`. Without such files it is another system."""
    values = []
    with suppress(OSError, ValueError):
        values = [int((filters / name / "rp_filter").read_text()) for name in ("all", "default")]
    return max(values, default=_STRICT) == _STRICT


def _is_own(source: str) -> bool:
    """Of a network with one address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        try:
            opened.bind((source.partition("/")[0], 0))
        except OSError:
            return False
    return True
