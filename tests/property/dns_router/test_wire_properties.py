"""Any bytes at the router's wire: no exception, and every answer parses. The hand codec says what dnspython says."""

import random
import struct
from dataclasses import replace

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dns_router import query_wire, slow_wire
from dns_router.counters import Counters
from dns_router.model import ClientSubnet, Query, Reason, Refusal
from dns_router.responder import Responder
from tests.depth import examples
from tests.router_builders import TWO_EDGES_EACH, US_CLIENT, addresses_in, directory, distribution, zone

RESPONDER = Responder(Counters(), random.Random(1))
RESPONDER.zone = zone(
    distribution(ipv6_enabled=True),
    distribution("E2", "d2.cdn.localhost", aliases=["*.w.cdn.localhost"], enabled=False),
)
RESPONDER.directory = directory(*TWO_EDGES_EACH)

# Strategies are made once, not at each draw: to make one and check it takes longer than to draw from it.
LABELS = st.one_of(
    st.sampled_from([b"d1", b"D1", b"cdn", b"localhost", b"LocalHost", b"w", b"ns"]), st.binary(min_size=1, max_size=63)
)
NAMES = st.one_of(
    st.sampled_from(
        [b"\x02d1\x03cdn\x09localhost\0", b"\x02D2\x03cdn\x09LOCALHOST\0", b"\x03cdn\x09localhost\0", b"\0"]
    ),
    st.lists(LABELS, max_size=6).map(lambda parts: b"".join(bytes([len(part)]) + part for part in parts) + b"\0"),
).filter(lambda name: len(name) <= 255)
TYPES = st.one_of(st.sampled_from([1, 2, 6, 16, 28, 252, 255]), st.integers(0, 65535))
CLASSES = st.sampled_from([1, 1, 1, 3, 255])
FLAGS = st.sampled_from([0, 0x0100, 0x0130])


def client_subnet(family: int, bits: int, octets: bytes) -> bytes:
    """An option's content: so many bits of these octets, and nothing behind them."""
    count = (bits + 7) // 8
    address = int.from_bytes(octets[:count], "big") >> -bits % 8 << -bits % 8
    return struct.pack("!HBB", family, bits, 0) + address.to_bytes(count, "big")


def opt_record(options: list[tuple[int, bytes]], payload_bytes: int, version: int, flags: int) -> bytes:
    rdata = b"".join(struct.pack("!HH", code, len(content)) + content for code, content in options)
    return b"\0" + struct.pack("!HHBBHH", 41, payload_bytes, 0, version, flags, len(rdata)) + rdata


def message(number: int, flags: int, name: bytes, codes: tuple[int, int], opt: bytes | None) -> bytes:
    header = struct.pack("!HHHHHH", number, flags, 1, 0, 0, 1 if opt else 0)
    return header + name + struct.pack("!HH", *codes) + (opt or b"")


def messages(subnets: st.SearchStrategy[bytes], versions: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    options = st.lists(
        st.tuples(st.just(8), subnets) | st.tuples(st.integers(65001, 65534), st.binary(max_size=9)), max_size=3
    )
    opt_records = st.builds(opt_record, options, st.integers(0, 65535), versions, st.sampled_from([0, 0x8000]))
    codes = st.tuples(TYPES, CLASSES)
    return st.builds(message, st.integers(0, 65535), FLAGS, NAMES, codes, st.none() | opt_records)


def damaged(wire: bytes, changes: list[tuple[int, int]], kept: int | None, more: bytes) -> bytes:
    changed = bytearray(wire)
    for position, value in changes:
        changed[position % len(changed)] = value
    return bytes(changed if kept is None else changed[: kept % (len(changed) + 1)]) + more


NO_FAMILY, SOME_FAMILY = b"\0\x08\0\x04\0\0\0\0", b"\0\x08\0\x04\0\x01\0\0"
"""A client subnet that is none: it is given back as it came, and dnspython reads only IPv4 and IPv6."""
SUBNETS = st.builds(client_subnet, st.just(1), st.integers(0, 32), st.binary(min_size=4, max_size=4)) | st.builds(
    client_subnet, st.just(2), st.integers(0, 128), st.binary(min_size=16, max_size=16)
)
SOUND = messages(SUBNETS, st.just(0))
WILD = messages(SUBNETS | st.binary(max_size=24), st.integers(0, 2))
DAMAGED = st.builds(
    damaged,
    WILD,
    st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 511),
    st.binary(max_size=6),
)


@settings(max_examples=examples(375))
@given(st.one_of(st.binary(max_size=80), DAMAGED, WILD))
@example(b"")
@example(b"\0" * 12)
def test_any_bytes_get_an_answer_that_parses_or_silence(wire: bytes) -> None:
    for respond, limit in ((RESPONDER.respond_to_datagram, 1232), (RESPONDER.respond_to_stream, 65535)):
        response = respond(wire, US_CLIENT)
        if len(wire) < 12 or wire[2] & 0x80:
            assert response is None
        else:
            assert response is not None and len(response) <= limit
            parsed = dns.message.from_wire(response.replace(NO_FAMILY, SOME_FAMILY), ignore_trailing=False)
            assert parsed.id == int.from_bytes(wire[:2], "big") and parsed.flags & dns.flags.QR


@settings(max_examples=examples(200))
@given(SOUND)
def test_the_hand_written_reader_says_what_dnspython_says(wire: bytes) -> None:
    parsed, oracle = query_wire.parse_query(wire), dns.message.from_wire(wire)
    assert isinstance(parsed, Query)
    question = oracle.question[0]
    assert parsed.message_id == oracle.id and parsed.is_recursion_desired == bool(oracle.flags & dns.flags.RD)
    assert (parsed.name, parsed.record_type, parsed.record_class) == (
        question.name.to_wire(),
        question.rdtype,
        question.rdclass,
    )
    assert (parsed.edns is None) == (oracle.edns == -1)
    if parsed.edns is not None:
        assert (parsed.edns.udp_payload_bytes, parsed.edns.is_dnssec_ok) == (
            oracle.payload,
            bool(oracle.ednsflags & dns.flags.DO),
        )
        assert parsed.edns.client_subnet == oracle_subnet(oracle)


def oracle_subnet(message: dns.message.Message) -> ClientSubnet | None:
    found = [option for option in message.options if isinstance(option, dns.edns.ECSOption)]
    return ClientSubnet(found[0].family, found[0].srclen, found[0].addrdata) if found else None


@settings(max_examples=examples(200))
@given(st.one_of(DAMAGED, WILD))
def test_both_readers_agree_on_whatever_the_hand_written_one_accepts(wire: bytes) -> None:
    if query_wire.screen(wire) is not None:
        return
    fast = query_wire.parse_query(wire)
    if fast is None:
        return
    slow = slow_wire.parse_query(wire)
    if isinstance(fast, Refusal):
        # dnspython refuses the whole message for a broken option; the code must be the same unless the version comes first.
        assert isinstance(slow, Refusal)
        assert slow.code == fast.code or fast.reason is Reason.UNSUPPORTED_EDNS_VERSION
    elif isinstance(slow, Query):
        assert fast == slow
    else:
        # dnspython looks into more options than we do (and refuses family 0): without options it must agree.
        assert fast.edns is not None
        opt_rdata_at = 12 + len(fast.name) + 4 + 11
        assert int.from_bytes(wire[opt_rdata_at - 2 : opt_rdata_at], "big") == len(wire) - opt_rdata_at
        bare = slow_wire.parse_query(wire[: opt_rdata_at - 2] + b"\0\0")
        assert bare == replace(fast, edns=replace(fast.edns, client_subnet=None))


@settings(max_examples=examples(200))
@given(SOUND)
def test_the_hand_written_writer_says_what_dnspython_would_write(wire: bytes) -> None:
    asked = dns.message.from_wire(wire)
    response = dns.message.from_wire(RESPONDER.respond_to_stream(wire, US_CLIENT) or b"")
    expected = dns.message.make_response(asked, our_payload=1232)
    expected.set_rcode(response.rcode())
    expected.flags |= response.flags & dns.flags.AA
    assert (response.id, response.flags, response.question) == (expected.id, expected.flags, expected.question)
    assert (response.edns, response.ednsflags & dns.flags.DO) == (expected.edns, asked.ednsflags & dns.flags.DO)
    for rrset in response.answer:
        assert rrset.name == asked.question[0].name and rrset.rdclass == dns.rdataclass.IN
        again = dns.rrset.from_text_list(
            rrset.name, rrset.ttl, "IN", rrset.rdtype, [record.to_text() for record in rrset]
        )
        assert again == rrset
    if asked.question[0].rdtype == dns.rdatatype.A and response.rcode() == dns.rcode.NOERROR and response.answer:
        assert set(addresses_in(response)) <= {node.http_address.split(":")[0] for node in TWO_EDGES_EACH} | {
            "127.13.255.53"
        }
    subnet, echoed = oracle_subnet(asked), oracle_subnet(response)
    assert subnet == echoed
