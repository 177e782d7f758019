"""Unusual and broken messages through the whole responder: the right code, or silence, never an exception."""

import random
import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from dns_router.counters import Counters
from dns_router.model import Reason
from dns_router.responder import Responder
from tests.router_builders import (
    EU_CLIENT,
    TWO_EDGES_EACH,
    US,
    US_CLIENT,
    addresses_in,
    client_subnet_of,
    directory,
    distribution,
    edge,
    query_with_subnet,
    routing_table,
    zone,
)

NAME = "d1.cdn.localhost"


def header(questions: int, additionals: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 9, 0x0100, questions, 0, 0, additionals)


class Conversation:
    """A responder, and what it counted."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.responder = Responder(self.counters, random.Random(1))
        self.responder.zone = zone(distribution(ipv6_enabled=True))
        self.responder.directory = directory(*TWO_EDGES_EACH)

    def send(self, message: dns.message.Message | bytes, client: str = US_CLIENT) -> dns.message.Message:
        wire = message if isinstance(message, bytes) else message.to_wire()
        response = self.responder.respond_to_datagram(wire, client)
        assert response is not None
        return dns.message.from_wire(response)

    def reasons(self) -> set[Reason]:
        return set(self.counters.by_reason())


def ecs_query(data: bytes) -> dns.message.Message:
    return dns.message.make_query(
        NAME, "A", use_edns=0, options=[dns.edns.GenericOption(dns.edns.OptionType.ECS, data)]
    )


def test_silence_for_less_than_a_header_and_for_responses() -> None:
    talk = Conversation()
    response = dns.message.make_response(dns.message.make_query(NAME, "A")).to_wire()
    for wire in (b"", b"\0" * 11, response):
        assert talk.responder.respond_to_datagram(wire, US_CLIENT) is None
    assert talk.reasons() == {Reason.NOT_ANSWERABLE}


@pytest.mark.parametrize("opcode", [dns.opcode.IQUERY, dns.opcode.STATUS, dns.opcode.NOTIFY, dns.opcode.UPDATE])
def test_other_opcodes_are_not_implemented(opcode: dns.opcode.Opcode) -> None:
    wire = bytearray(dns.message.make_query(NAME, "A", id=77).to_wire())
    wire[2] |= opcode << 3
    response = Conversation().send(bytes(wire))
    assert (response.id, response.opcode(), response.rcode()) == (77, opcode, dns.rcode.NOTIMP)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(header(0), id="no question"),
        pytest.param(header(1), id="question missing"),
        pytest.param(header(1) + b"\x02d1\x03cdn", id="name cut off"),
        pytest.param(header(1) + b"\x02d1\0\0\1", id="class cut off"),
        pytest.param(header(1) + b"\x40d1\0\0\1\0\1", id="unknown label type"),
        pytest.param(header(1) + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", id="label of 64 bytes"),
        pytest.param(header(1) + b"\xc0\x0c\0\1\0\1", id="pointer to itself"),
        pytest.param(header(1) + b"\x02d1\0\0\1\0\1trailing", id="trailing bytes"),
        pytest.param(header(2) + b"\x02d1\0\0\1\0\1" * 2, id="two questions"),
        pytest.param(header(1, additionals=1) + b"\x02d1\0\0\1\0\1", id="OPT missing"),
        pytest.param(header(1, additionals=1) + b"\x02d1\0\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0", id="OPT cut off"),
        pytest.param(
            header(1, additionals=1) + b"\x02d1\0\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0\0\xff\xff\0\0", id="beyond the OPT"
        ),
        pytest.param(
            header(1, additionals=1) + b"\x02d1\0\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0\4\xff\xff", id="options cut off"
        ),
        pytest.param(header(1) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", id="name too long"),
    ],
)
def test_malformed_messages_are_told_so(wire: bytes) -> None:
    response = Conversation().send(wire)
    assert (response.id, response.rcode()) == (9, dns.rcode.FORMERR)
    assert response.flags & dns.flags.RD


def test_recursion_desired_is_echoed_and_recursion_not_offered() -> None:
    asked = dns.message.make_query(NAME, "A")
    assert Conversation().send(asked).flags & dns.flags.RD
    asked.flags = 0
    assert not Conversation().send(asked).flags & (dns.flags.RD | dns.flags.RA)


def test_edns_is_answered_with_edns_and_only_then() -> None:
    with_edns = Conversation().send(dns.message.make_query(NAME, "A", use_edns=0, want_dnssec=True))
    assert (with_edns.edns, with_edns.payload) == (0, 1232) and with_edns.ednsflags & dns.flags.DO
    assert Conversation().send(dns.message.make_query(NAME, "A")).edns == -1


def test_a_newer_edns_version_is_named_as_the_obstacle() -> None:
    talk = Conversation()
    response = talk.send(
        dns.message.make_query(NAME, "A", use_edns=1, options=[dns.edns.GenericOption(dns.edns.OptionType.ECS, b"\0")])
    )
    assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)
    assert response.question and talk.reasons() == {Reason.UNSUPPORTED_EDNS_VERSION}


def test_the_client_subnet_decides_before_the_source_address_and_is_echoed_with_its_scope() -> None:
    response = Conversation().send(query_with_subnet(NAME, "10.3.44.0/24"), client=EU_CLIENT)
    assert set(addresses_in(response)) == {"127.0.3.1", "127.0.3.2"}
    assert client_subnet_of(response) == "10.3.44.0/24 scope/16"


def test_without_a_client_subnet_the_source_address_decides() -> None:
    response = Conversation().send(dns.message.make_query(NAME, "A", use_edns=0), client=EU_CLIENT)
    assert set(addresses_in(response)) == {"127.0.2.1", "127.0.2.2"} and client_subnet_of(response) is None


@pytest.mark.parametrize("client", ["::ffff:10.2.0.9", "::FFFF:10.2.0.9"])
def test_an_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client(client: str) -> None:
    assert set(addresses_in(Conversation().send(dns.message.make_query(NAME, "A"), client))) == {
        "127.0.2.1",
        "127.0.2.2",
    }


def test_a_link_local_client_has_a_zone_index() -> None:
    assert addresses_in(Conversation().send(dns.message.make_query(NAME, "A"), "fe80::1%lo"))


@pytest.mark.parametrize(("data", "echoed"), [(b"\0\1\0\0", "0.0.0.0/0 scope/0"), (b"\0\2\0\0", "::/0 scope/0")])
def test_a_withheld_subnet_leaves_it_to_the_source_address(data: bytes, echoed: str) -> None:
    response = Conversation().send(ecs_query(data), client=EU_CLIENT)
    assert set(addresses_in(response)) == {"127.0.2.1", "127.0.2.2"}
    assert client_subnet_of(response) == echoed


def test_a_withheld_subnet_need_not_name_a_family() -> None:
    wire = Conversation().responder.respond_to_datagram(ecs_query(b"\0\0\0\0").to_wire(), EU_CLIENT)
    assert wire is not None and wire.endswith(b"\0\x08\0\4\0\0\0\0") and wire[3] & 0xF == dns.rcode.NOERROR


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0\1\x18", id="short"),
        pytest.param(b"\0\3\x18\0\1\2\3", id="unknown family"),
        pytest.param(b"\0\1\x21\0\1\2\3\4\5", id="too long a prefix"),
        pytest.param(b"\0\1\x18\x10\1\2\3", id="scope in a query"),
        pytest.param(b"\0\1\x18\0\1\2", id="too few octets"),
        pytest.param(b"\0\1\x18\0\1\2\3\4", id="too many octets"),
        pytest.param(b"\0\1\x17\0\1\2\3", id="bits beyond the prefix"),
        pytest.param(b"\0\0\x08\0\1", id="prefix without a family"),
    ],
)
def test_a_broken_client_subnet_is_a_format_error_with_edns(data: bytes) -> None:
    talk = Conversation()
    response = talk.send(ecs_query(data))
    assert (response.rcode(), response.edns) == (dns.rcode.FORMERR, 0)
    assert response.question and talk.reasons() == {Reason.BAD_CLIENT_SUBNET}


def test_other_options_are_skipped() -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    subnet = dns.edns.ECSOption("10.2.0.0", 16)
    response = Conversation().send(dns.message.make_query(NAME, "A", use_edns=0, options=[cookie, subnet, cookie]))
    assert set(addresses_in(response)) == {"127.0.2.1", "127.0.2.2"} and len(response.options) == 1


def test_answers_that_are_not_tailored_have_scope_zero() -> None:
    for name in ("nobody.cdn.localhost", "example.com"):
        assert client_subnet_of(Conversation().send(query_with_subnet(name, "10.3.0.0/16"))) == "10.3.0.0/16 scope/0"


def test_a_query_with_records_of_its_own_is_read_by_the_slow_path() -> None:
    asked = dns.message.make_query(NAME, "A", use_edns=0, options=[dns.edns.ECSOption("10.2.0.0", 16)])
    asked.additional.append(dns.rrset.from_text("x.", 1, "IN", "A", "192.0.2.1"))
    response = Conversation().send(asked)
    assert (
        set(addresses_in(response)) == {"127.0.2.1", "127.0.2.2"}
        and client_subnet_of(response) == "10.2.0.0/16 scope/16"
    )


def test_an_answer_too_large_for_the_client_is_truncated_over_udp_and_whole_over_tcp() -> None:
    talk = Conversation()
    talk.responder.zone = zone(table=routing_table(maximum_answers=100))
    talk.responder.directory = directory(*(edge(f"127.0.1.{number}", US) for number in range(1, 101)))
    plain, large = dns.message.make_query(NAME, "A"), dns.message.make_query(NAME, "A", use_edns=0, payload=4096)
    for asked, limit in ((plain, 512), (large, 1232)):
        wire = talk.responder.respond_to_datagram(asked.to_wire(), US_CLIENT)
        assert wire is not None and len(wire) <= limit
        assert dns.message.from_wire(wire).flags & dns.flags.TC and not dns.message.from_wire(wire).answer
        whole = dns.message.from_wire(talk.responder.respond_to_stream(asked.to_wire(), US_CLIENT) or b"")
        assert len(addresses_in(whole)) == 100 and not whole.flags & dns.flags.TC


def test_a_payload_size_below_512_counts_as_512() -> None:
    asked = dns.message.make_query(NAME, "A", use_edns=0, payload=1)
    assert addresses_in(Conversation().send(asked))


def test_before_anything_was_heard_every_query_is_told_to_try_again() -> None:
    talk = Conversation()
    talk.responder.zone = None
    response = talk.send(dns.message.make_query(NAME, "A"))
    assert response.rcode() == dns.rcode.SERVFAIL and talk.reasons() == {Reason.NO_CONFIGURATION}


def test_queries_are_counted_by_type_and_outcome_with_few_labels() -> None:
    talk = Conversation()
    for record_type in ("A", "A", "TYPE65280", "TYPE65281"):
        talk.send(dns.message.make_query(NAME, record_type))
    assert talk.counters.by_outcome() == {("A", "answered"): 2, ("other", "no_data"): 2}
    assert talk.counters.total() == 4
