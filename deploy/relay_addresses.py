"""What the relays of a lab in containers are started by: takes the addresses that they listen at, gives up every right, and becomes `lab.wan` (service `wan`).

In each of its networks the relays are the default gateway: the address after their own there. All that they listen at, or connect from, by their file are addresses of
theirs as well, in no network. So whatever a container sends to one of them arrives here, and what is for anybody else ends here, since nothing is forwarded.
Addresses are asked of the kernel over rtnetlink (rtnetlink(7), RFC 3549), for which this process has CAP_NET_ADMIN; after it has become another user it has none.
"""

import argparse
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from lab.clients.http_client import split_address
from lab.errors import LabError
from lab.wan.configuration import Configuration
from lab.wan.configuration_file import read_configuration

_SIOCGIFADDR: Final = 0x8915
_RTM_NEWADDR: Final = 20
_REQUEST_ACKNOWLEDGED_CREATE: Final = 0x1 | 0x4 | 0x400
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_WHOLE: Final = 32
"""Of the bits: the address alone."""
_SCOPE_UNIVERSE: Final = 0
_LOOPBACK: Final = "lo"
_ANSWER_SECONDS: Final = 5.0


class AddressError(Exception):
    """The kernel does not give an address; the message says which, and why."""


def own_addresses() -> Iterator[IPv4Address]:
    """The first of every interface that the engine has made."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            if name == _LOOPBACK:
                continue
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none: tunnels that every network namespace has
                continue
            yield IPv4Address(answer[20:24])


def wanted_addresses(configuration: Configuration, own: Iterable[IPv4Address]) -> list[IPv4Address]:
    """Gateways, and all of the file that are no others' yet."""
    present = set(own)
    texts = [split_address(proxy.listen)[0] for proxy in configuration.proxies]
    texts += [configuration.outgoing_address, *(place.outgoing_address for place in configuration.places)]
    wanted = {IPv4Address(text) for text in texts if text} | {address + 1 for address in present}
    return sorted(address for address in wanted - present if not address.is_loopback and not address.is_unspecified)


def new_address(address: IPv4Address, interface: int, sequence: int) -> bytes:
    """The message that gives it to an interface."""
    attributes = b"".join(struct.pack("=HH4s", 8, kind, address.packed) for kind in (_IFA_LOCAL, _IFA_ADDRESS))
    body = struct.pack("=BBBBI", socket.AF_INET, _WHOLE, 0, _SCOPE_UNIVERSE, interface) + attributes
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWADDR, _REQUEST_ACKNOWLEDGED_CREATE, sequence, 0) + body


def take(addresses: Iterable[IPv4Address]) -> None:
    """On loopback, where they belong to the whole machine: it answers for them on every interface (RFC 1122 section 3.3.4.2, the weak model). One that is there stays.

    AddressError when the kernel refuses."""
    loopback = socket.if_nametoindex(_LOOPBACK)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_ANSWER_SECONDS)
        for sequence, address in enumerate(addresses, start=1):
            kernel.send(new_address(address, loopback, sequence))
            (status,) = struct.unpack_from("=i", kernel.recv(4096), 16)
            if status not in (0, -errno.EEXIST):
                raise AddressError(f"{address} cannot be taken: {os.strerror(-status)}; it needs CAP_NET_ADMIN")


def become(user: int) -> None:
    """Another user, for good: with the change from root the kernel takes every capability away (capabilities(7))."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="of the relays (docs/wan.md)")
    parser.add_argument("--user", required=True, type=int, metavar="ID", help="whom to become, and of which group")
    options = parser.parse_args()
    try:
        take(wanted_addresses(read_configuration(options.config), own_addresses()))
        become(options.user)
    except (LabError, AddressError, OSError) as error:
        sys.exit(f"relay_addresses: {error}")
    os.execv(sys.executable, [sys.executable, "-m", "lab.wan", "--config", str(options.config)])  # noqa: S606


if __name__ == "__main__":
    main()
