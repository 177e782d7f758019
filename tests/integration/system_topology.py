"""What the lab of test_system_*.py consists of, and where on loopback it goes so that several test processes can each have one."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

_SLOTS = 16
_LOCK_HOST = "127.18.255.254"
_FIRST_LOCK_PORT = 21_000
_FIRST_PORT = 22_000
_PORTS_PER_SLOT = 10

TOPOLOGY = """
name: system
zone: cdn.localhost
loopback: {loopback}
viewer_port: {port_0}
origin_port: {port_1}
dns_port: {port_2}
admin_port: {port_3}
control_plane: {{api: {port_4}, grpc: {port_5}, admin: {port_6}}}
lease_seconds: {lease_seconds}
heartbeat_seconds: {heartbeat_seconds}
demo_distribution: false
relays: false
regions:
  - {{name: us-east-1, airport: IAD}}
  - {{name: eu-central-1, airport: FRA}}
pops:
  - {{name: IAD89-P1, region: us-east-1, edges: 2}}
  - {{name: IAD61-P2, region: us-east-1, edges: 1}}
  - {{name: FRA56-P1, region: eu-central-1, edges: 2}}
regional_caches:
  - {{region: us-east-1, count: 2}}
  - {{region: eu-central-1, count: 1}}
routers:
  - {{region: us-east-1}}
origins:
  - {{name: origin-1, region: us-east-1}}
populations:
  - {{region: us-east-1, client_subnet: 10.1.0.0/16}}
  - {{region: eu-central-1, client_subnet: 10.2.0.0/16}}
"""


@contextmanager
def claimed_slot() -> Iterator[tuple[str, range]]:
    """A loopback range and ports that no other test process uses; held by listening on the slot's own lock port."""
    with socket.socket() as lock:
        slot = next(number for number in range(_SLOTS) if _is_bound(lock, number))
        first = _FIRST_PORT + slot * _PORTS_PER_SLOT
        yield f"127.{18 + slot % 2}.0.0/16", range(first, first + _PORTS_PER_SLOT)


def _is_bound(lock: socket.socket, slot: int) -> bool:
    try:
        lock.bind((_LOCK_HOST, _FIRST_LOCK_PORT + slot))
    except OSError:
        return False
    return True
