"""Records and responses to bytes (RFC 1035 section 4.1, RFC 6891 section 6, RFC 7871 section 7.2).

The question is echoed as it came, so that the case of its letters survives. Names in answers that are the question's are a pointer
to it; all others are whole, which keeps records independent of the message they end up in. What to say is decided in `zone`.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from dns_router.model import (
    CLASS_IN,
    HEADER_BYTES,
    NO_RECORDS,
    OUR_UDP_PAYLOAD_BYTES,
    Edns,
    Query,
    Records,
    RecordType,
    Refusal,
    Resolution,
    ResponseCode,
)
from dns_router.query_wire import (
    FLAG_DNSSEC_OK,
    FLAG_RECURSION_DESIRED,
    FLAG_RESPONSE,
    OPCODE_MASK,
    OPTION_CLIENT_SUBNET,
)

# RFC 1035 section 4.1.4: the question's name always begins right after the header.
QUESTION_NAME: Final = (0xC000 | HEADER_BYTES).to_bytes(2, "big")
FLAG_AUTHORITATIVE: Final = 0x0400
FLAG_TRUNCATED: Final = 0x0200

_HEADER: Final = Struct("!HHHHHH")
_RECORD_HEAD: Final = Struct("!HHIH")
_OPT: Final = Struct("!BHHBBHH")
_CLIENT_SUBNET: Final = Struct("!HHHBB")
_CLIENT_SUBNET_FIXED_BYTES: Final = 4
_QUESTION_TAIL: Final = Struct("!HH")


def record(owner: bytes, record_type: RecordType, ttl_seconds: int, data: bytes) -> bytes:
    """One resource record of class IN."""
    return owner + _RECORD_HEAD.pack(record_type, CLASS_IN, ttl_seconds, len(data)) + data


def address_records(record_type: RecordType, ttl_seconds: int, addresses: Sequence[bytes]) -> Records:
    """A or AAAA records for the question's name; the addresses are all of the one family."""
    if not addresses:
        return NO_RECORDS
    head = record(QUESTION_NAME, record_type, ttl_seconds, addresses[0])[: -len(addresses[0])]
    return Records(len(addresses), head + head.join(addresses))


def encode_resolution(query: Query, resolution: Resolution, limit_bytes: int) -> bytes:
    """The response to a query; what does not fit in limit_bytes is left out whole and TC says so (RFC 2181 section 9)."""
    flags = FLAG_RESPONSE
    if query.is_recursion_desired:
        flags |= FLAG_RECURSION_DESIRED
    if resolution.is_authoritative:
        flags |= FLAG_AUTHORITATIVE
    question = query.name + _QUESTION_TAIL.pack(query.record_type, query.record_class)
    opt = _encode_opt(query.edns, resolution.code, resolution.scope_prefix_bits)
    answers, authority = resolution.answers, resolution.authority
    size_bytes = HEADER_BYTES + len(question) + len(answers.wire) + len(authority.wire) + len(opt)
    if size_bytes > limit_bytes:
        flags |= FLAG_TRUNCATED
        answers = authority = NO_RECORDS
    header = _HEADER.pack(
        query.message_id, flags | resolution.code & 0xF, 1, answers.count, authority.count, 1 if opt else 0
    )
    return b"".join((header, question, answers.wire, authority.wire, opt))


def encode_refusal(refusal: Refusal) -> bytes:
    """The response to a message that was not understood or not for this server."""
    flags = FLAG_RESPONSE | refusal.flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED) | refusal.code & 0xF
    opt = _encode_opt(refusal.edns, refusal.code, 0)
    header = _HEADER.pack(refusal.message_id, flags, 1 if refusal.question else 0, 0, 0, 1 if opt else 0)
    return header + refusal.question + opt


def _encode_opt(edns: Edns | None, code: ResponseCode, scope_prefix_bits: int) -> bytes:
    """Only in answer to an OPT (RFC 6891 section 7); DO is copied (RFC 3225 section 3), the subnet echoed."""
    if edns is None:
        return b""
    option = b""
    subnet = edns.client_subnet
    if subnet is not None:
        # RFC 7871 section 7.1.2: where the client withheld its address, nothing was tailored to it.
        scope_bits = scope_prefix_bits if subnet.source_prefix_bits else 0
        length = _CLIENT_SUBNET_FIXED_BYTES + len(subnet.address)
        option = _CLIENT_SUBNET.pack(OPTION_CLIENT_SUBNET, length, subnet.family, subnet.source_prefix_bits, scope_bits)
        option += subnet.address
    flags = FLAG_DNSSEC_OK if edns.is_dnssec_ok else 0
    return _OPT.pack(0, RecordType.OPT, OUR_UDP_PAYLOAD_BYTES, code >> 4, 0, flags, len(option)) + option
