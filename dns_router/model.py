"""The values that the router's modules exchange: a query, a refusal, a resolution, and the reasons for them.

Names are kept in wire form (RFC 1035 section 3.1: length octet, label, ..., zero octet). A length octet is at most 63
and so never an upper-case letter: `name.lower()` folds a whole wire name, and no name is decoded to be looked up.
No bytes are parsed here (`query_wire`), and nothing is decided here (`zone`, `routing`).
"""

import enum
from dataclasses import dataclass
from typing import Final

CLASS_IN: Final = 1
HEADER_BYTES: Final = 12
# RFC 1035 section 4.2.1: what every resolver takes over UDP without EDNS.
PLAIN_UDP_PAYLOAD_BYTES: Final = 512
# Ours: the largest that crosses an IPv6 path of 1,280 bytes unfragmented (the figure of DNS Flag Day 2020).
OUR_UDP_PAYLOAD_BYTES: Final = 1232
# RFC 1035 section 4.2.2: the length prefix over TCP has 16 bits.
LARGEST_MESSAGE_BYTES: Final = 65535


class RecordType(enum.IntEnum):
    """The types with a rule of their own; all others are "no data"."""

    A = 1
    NS = 2
    SOA = 6
    AAAA = 28
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class ResponseCode(enum.IntEnum):
    """RFC 1035 section 4.1.1 and RFC 6891 section 9."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class AddressFamily(enum.IntEnum):
    """IANA address family numbers, as RFC 7871 section 6 puts them into the option."""

    IPV4 = 1
    IPV6 = 2

    @property
    def width_bits(self) -> int:
        """Bits in an address of this family."""
        return 32 if self is AddressFamily.IPV4 else 128


class Outcome(enum.StrEnum):
    """What became of a query, for an operator: the label of `cdn_dns_queries_total`."""

    ANSWERED = "answered"
    NO_DATA = "no_data"
    UNKNOWN_NAME = "unknown_name"
    REFUSED = "refused"
    MALFORMED = "malformed"
    FAILED = "failed"


class Reason(enum.StrEnum):
    """Why a query got what it got; one for each end of the decision."""

    # All answers are in the region nearest to the client.
    NEAREST_REGION = "nearest_region"
    # The nearest region has live edges, but too few for a viewer to fail over: the next nearest fill up.
    FILLED_FROM_NEXT_REGION = "filled_from_next_region"
    # The nearest region has no live edge: the next nearest answer.
    NEXT_REGION = "next_region"
    ZONE_RECORD = "zone_record"
    NO_LIVE_EDGE = "no_live_edge"
    NO_EDGE_OF_FAMILY = "no_edge_of_family"
    IPV6_NOT_ENABLED = "ipv6_not_enabled"
    DISTRIBUTION_DISABLED = "distribution_disabled"
    NO_SUCH_TYPE = "no_such_type"
    EMPTY_NON_TERMINAL = "empty_non_terminal"
    UNKNOWN_NAME = "unknown_name"
    OUTSIDE_ZONE = "outside_zone"
    OTHER_CLASS = "other_class"
    TRANSFER_REFUSED = "transfer_refused"
    # Nothing was ever heard from a control plane, so it is not known what the zone is.
    NO_CONFIGURATION = "no_configuration"
    NOT_A_QUERY = "not_a_query"
    UNSUPPORTED_EDNS_VERSION = "unsupported_edns_version"
    BAD_MESSAGE = "bad_message"
    BAD_CLIENT_SUBNET = "bad_client_subnet"
    # Shorter than a header, or a response: answering could start a loop, so silence.
    NOT_ANSWERABLE = "not_answerable"
    # This router has been told to fail (docs/faults.md).
    INJECTED_FAULT = "injected_fault"

    @property
    def outcome(self) -> Outcome:
        """The coarser word for metrics."""
        return _OUTCOMES[self]


_OUTCOMES: Final = {
    Reason.NEAREST_REGION: Outcome.ANSWERED,
    Reason.FILLED_FROM_NEXT_REGION: Outcome.ANSWERED,
    Reason.NEXT_REGION: Outcome.ANSWERED,
    Reason.ZONE_RECORD: Outcome.ANSWERED,
    Reason.NO_LIVE_EDGE: Outcome.FAILED,
    Reason.INJECTED_FAULT: Outcome.FAILED,
    Reason.NO_EDGE_OF_FAMILY: Outcome.NO_DATA,
    Reason.IPV6_NOT_ENABLED: Outcome.NO_DATA,
    Reason.DISTRIBUTION_DISABLED: Outcome.NO_DATA,
    Reason.NO_SUCH_TYPE: Outcome.NO_DATA,
    Reason.EMPTY_NON_TERMINAL: Outcome.NO_DATA,
    Reason.UNKNOWN_NAME: Outcome.UNKNOWN_NAME,
    Reason.OUTSIDE_ZONE: Outcome.REFUSED,
    Reason.OTHER_CLASS: Outcome.REFUSED,
    Reason.TRANSFER_REFUSED: Outcome.REFUSED,
    Reason.NO_CONFIGURATION: Outcome.FAILED,
    Reason.NOT_A_QUERY: Outcome.REFUSED,
    Reason.UNSUPPORTED_EDNS_VERSION: Outcome.REFUSED,
    Reason.BAD_MESSAGE: Outcome.MALFORMED,
    Reason.BAD_CLIENT_SUBNET: Outcome.MALFORMED,
    Reason.NOT_ANSWERABLE: Outcome.MALFORMED,
}


@dataclass(frozen=True, slots=True)
class ClientSubnet:
    """The EDNS Client Subnet option of a query (RFC 7871 section 6), checked; echoed as it came."""

    # 0 only together with source_prefix_bits 0: a resolver that withholds the address need not name its family.
    family: int
    source_prefix_bits: int
    # As many octets as source_prefix_bits needs; the bits beyond it are zero.
    address: bytes


@dataclass(frozen=True, slots=True)
class Edns:
    """What an OPT record says (RFC 6891 section 6.1)."""

    udp_payload_bytes: int
    is_dnssec_ok: bool
    client_subnet: ClientSubnet | None


@dataclass(frozen=True, slots=True)
class Query:
    """A well-formed question for this server."""

    message_id: int
    is_recursion_desired: bool
    # As it was sent: resolvers put entropy into the case and compare it (draft-vixie-dnsext-dns0x20).
    name: bytes
    record_type: int
    record_class: int
    edns: Edns | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that needs no look at the zone: the message cannot be understood or is not for this server."""

    reason: Reason
    code: ResponseCode
    message_id: int
    # The two bytes after the id, of which opcode and RD are echoed.
    flags: int
    # The question as sent, when that much could be read; else empty.
    question: bytes = b""
    edns: Edns | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """Resource records ready for one section of a message. Owner names are whole, or point at the question's name."""

    count: int
    wire: bytes


NO_RECORDS: Final = Records(0, b"")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the zone says to a query."""

    reason: Reason
    code: ResponseCode = ResponseCode.NOERROR
    is_authoritative: bool = True
    answers: Records = NO_RECORDS
    authority: Records = NO_RECORDS
    # RFC 7871 section 7.2.1: how much of the client's address decided; 0 when the answer is the same for everybody.
    scope_prefix_bits: int = 0


@dataclass(frozen=True, slots=True)
class ClientNetwork:
    """What is known of where the client is: the first prefix_bits of its address, as a number."""

    family: AddressFamily
    prefix: int
    prefix_bits: int


def client_network(family: AddressFamily, address: bytes, prefix_bits: int) -> ClientNetwork:
    """The network that `address`, whole or cut to the octets that prefix_bits needs, stands for."""
    surplus_bits = len(address) * 8 - prefix_bits
    return ClientNetwork(family, int.from_bytes(address, "big") >> surplus_bits, prefix_bits)
