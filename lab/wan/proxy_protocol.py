"""PROXY protocol version 2, as a relay says it: whose connection this is (HAProxy's proxy-protocol.txt, section 2.2). Pure. Edges read it."""

import ipaddress
import struct
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_2_LOCAL: Final = 0x20
VERSION_2_PROXY: Final = 0x21
STREAM_OVER_IPV4: Final = 0x11
STREAM_OVER_IPV6: Final = 0x21

Endpoint = tuple[str, int]
"""Address and port."""


def local_header() -> bytes:
    """Of a connection that the relay makes for itself: its address is the real one."""
    return SIGNATURE + struct.pack("!BBH", VERSION_2_LOCAL, 0, 0)


def proxied_header(source: Endpoint, destination: Endpoint) -> bytes:
    """From where a client has connected, and to where. ValueError: an address is none, or they are of two families."""
    addresses = ipaddress.ip_address(source[0]), ipaddress.ip_address(destination[0])
    if addresses[0].version != addresses[1].version:
        raise ValueError(f"{source[0]} and {destination[0]} are not of one family")
    family = STREAM_OVER_IPV4 if addresses[0].version == 4 else STREAM_OVER_IPV6
    block = addresses[0].packed + addresses[1].packed + struct.pack("!HH", source[1], destination[1])
    return SIGNATURE + struct.pack("!BBH", VERSION_2_PROXY, family, len(block)) + block
