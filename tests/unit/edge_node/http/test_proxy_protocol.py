"""PROXY protocol version 2 as edges read it: headers written out by hand from HAProxy's proxy-protocol.txt, in any pieces, and everything that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.http.proxy_protocol import MOST_HEADER_BYTES, ProxyHeaderError, read_proxy_header
from lab.wan.proxy_protocol import local_header, proxied_header

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
IPV4 = SIGNATURE + bytes.fromhex("21 11 000C C0000207 C6336401 9C40 1F90")
IPV6 = (
    SIGNATURE
    + bytes.fromhex("21 21 0024")
    + bytes.fromhex("20010DB8" + "00" * 11 + "07") * 2
    + bytes.fromhex("9C40 1F90")
)
LOCAL = SIGNATURE + bytes.fromhex("20 00 0000")
WITH_TLVS = SIGNATURE + bytes.fromhex("21 11 0017 C0000207 C6336401 9C40 1F90 04 0002 0000 E0 0003 616263")
LOCAL_WITH_ADDRESSES = SIGNATURE + bytes.fromhex("20 11 000C C0000207 C6336401 9C40 1F90")

HEADERS = [
    (IPV4, "192.0.2.7", 40_000),
    (IPV6, "2001:db8::7", 40_000),
    (LOCAL, "", 0),
    (WITH_TLVS, "192.0.2.7", 40_000),
    (LOCAL_WITH_ADDRESSES, "", 0),
]


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n", SIGNATURE])
@pytest.mark.parametrize(("data", "address", "port"), HEADERS)
def test_a_header_says_who_the_viewer_is_and_where_it_ends(data: bytes, address: str, port: int, behind: bytes) -> None:
    header = read_proxy_header(data + behind)
    assert header is not None
    assert (header.length, header.address, header.port) == (len(data), address, port)


@pytest.mark.parametrize(("data", "address", "port"), HEADERS)
def test_a_header_that_is_not_all_there_is_waited_for(data: bytes, address: str, port: int) -> None:
    assert all(read_proxy_header(data[:length]) is None for length in range(len(data)))


NO_HEADERS = {
    "a request": b"GET / HTTP/1.1\r\n",
    "version 1": b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 8080\r\n",
    "another signature": SIGNATURE[:-1] + b"\r",
    "version 1 in binary": SIGNATURE + bytes.fromhex("11 11 000C") + bytes(12),
    "version 3": SIGNATURE + bytes.fromhex("31 11 000C") + bytes(12),
    "another command": SIGNATURE + bytes.fromhex("22 11 000C") + bytes(12),
    "no family": SIGNATURE + bytes.fromhex("21 00 0000"),
    "datagrams": SIGNATURE + bytes.fromhex("21 12 000C") + bytes(12),
    "unix sockets": SIGNATURE + bytes.fromhex("21 31 00D8") + bytes(216),
    "no room for the addresses": SIGNATURE + bytes.fromhex("21 11 000B") + bytes(11),
    "no room for those of IPv6": SIGNATURE + bytes.fromhex("21 21 000C") + bytes(12),
    "too long": SIGNATURE + bytes.fromhex("21 11 FFFF"),
    "a local one too long": SIGNATURE + bytes.fromhex("20 00 FFFF"),
    "a TLV that is cut off": SIGNATURE + bytes.fromhex("21 11 000E") + bytes(12) + b"\x04\x00",
    "a TLV longer than the header": SIGNATURE + bytes.fromhex("21 11 0010") + bytes(12) + b"\x04\x00\x02\x00",
}


@pytest.mark.parametrize("data", NO_HEADERS.values(), ids=NO_HEADERS)
def test_what_is_no_header_is_an_error(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(data)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_an_error_within_its_bound(data: bytes) -> None:
    try:
        header = read_proxy_header(SIGNATURE + data)
    except ProxyHeaderError:
        return
    assert header is None or 16 <= header.length <= min(len(SIGNATURE + data), MOST_HEADER_BYTES)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65_535))
def test_what_relays_write_is_what_edges_read(address: object, port: int) -> None:
    """Two programs that share no code."""
    destination = "2001:db8::1" if ":" in str(address) else "198.51.100.1"
    header = read_proxy_header(proxied_header((str(address), port), (destination, 8_080)))
    assert header is not None and (header.address, header.port) == (str(address), port)


def test_what_relays_write_is_as_in_the_specification() -> None:
    assert proxied_header(("192.0.2.7", 40_000), ("198.51.100.1", 8_080)) == IPV4
    assert proxied_header(("2001:db8::7", 40_000), ("2001:db8::7", 8_080)) == IPV6
    assert local_header() == LOCAL
    with pytest.raises(ValueError, match="one family"):
        proxied_header(("192.0.2.7", 1), ("::1", 1))
