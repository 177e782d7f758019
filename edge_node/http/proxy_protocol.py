"""PROXY protocol version 2: who a viewer is whose connection comes from a relay or load balancer (HAProxy's proxy-protocol.txt, section 2.2). Pure.

Read strictly: what is no header, or one that this node has no use for, is an error, and the connection has to be closed (section 2: "must be considered as invalid").
Version 1, a line of text, is not taken. TLVs are skipped, their lengths checked; section 2.2 leaves it open whether a receiver looks at them.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
"""Signature, version and command, family and protocol, length of the rest."""
MOST_HEADER_BYTES: Final = 2_048
"""Senders keep to 536 (section 2.2); certificates in TLVs make it longer, and nobody here needs them."""
_LOCAL, _PROXY = 0x20, 0x21
_STREAM_OVER_IPV4, _STREAM_OVER_IPV6 = 0x11, 0x21
_TLV_HEAD_BYTES: Final = 3


class ProxyHeaderError(Exception):
    """What came is no header that can be taken."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says."""

    length: int
    """Bytes of it."""
    address: str
    """The viewer's; empty: the connection is the sender's own (LOCAL, for health checks)."""
    port: int


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that these bytes begin with; None: it is not all there yet. ProxyHeaderError as soon as it can be none."""
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProxyHeaderError("there is no signature of version 2")
    if len(data) < FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command are {command:#04x}")
    length = FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if length > MOST_HEADER_BYTES:
        raise ProxyHeaderError(f"a header of {length} bytes")
    if command == _PROXY:
        _check_family(family, length)
    if len(data) < length:
        return None
    if command == _LOCAL:
        return ProxyHeader(length, "", 0)
    return _read_addresses(data[FIXED_BYTES:length], family, length)


def _address_bytes(family: int) -> int:
    return 4 if family == _STREAM_OVER_IPV4 else 16


def _check_family(family: int, length: int) -> None:
    """A stream over IP, with room for its addresses and ports. UNSPEC may be rejected (section 2.2), and without an address there is no viewer."""
    if family not in (_STREAM_OVER_IPV4, _STREAM_OVER_IPV6):
        raise ProxyHeaderError(f"family and protocol are {family:#04x}")
    if length < FIXED_BYTES + 2 * _address_bytes(family) + 4:
        raise ProxyHeaderError("there is no room for the addresses")


def _read_addresses(block: bytes, family: int, length: int) -> ProxyHeader:
    size = _address_bytes(family)
    _check_tlvs(block, 2 * size + 4)
    address = str(ipaddress.ip_address(block[:size]))
    return ProxyHeader(length, address, int.from_bytes(block[2 * size : 2 * size + 2], "big"))


def _check_tlvs(block: bytes, start: int) -> None:
    """Type, length, value (section 2.2): the last one ends where the header does."""
    while start < len(block):
        if start + _TLV_HEAD_BYTES > len(block):
            raise ProxyHeaderError("a TLV is cut off")
        start += _TLV_HEAD_BYTES + int.from_bytes(block[start + 1 : start + 3], "big")
    if start != len(block):
        raise ProxyHeaderError("a TLV is longer than the header")
