"""Bytes to a query by dnspython, for messages that `query_wire` does not read itself.

Legal but unusual: records in a query, a compressed name, an additional record that is not OPT. Everything that dnspython refuses
is FORMERR (RFC 1035 section 4.1.1). Foreign exceptions end here.
"""

from typing import Final

import dns.exception
import dns.flags
import dns.message

from dns_router.model import Query, Reason, Refusal, ResponseCode
from dns_router.query_wire import Opt, query_of


def parse_query(wire: bytes) -> Query | Refusal:
    """Read a message that passed `query_wire.screen`."""
    message_id = int.from_bytes(wire[:2], "big")
    flags = int.from_bytes(wire[2:4], "big")
    try:
        message = dns.message.from_wire(wire)
    except _DNSPYTHON_ERRORS:
        return Refusal(Reason.BAD_MESSAGE, ResponseCode.FORMERR, message_id, flags)
    # RFC 9619 section 4: a query has exactly one question.
    if len(message.question) != 1 or int.from_bytes(wire[4:6], "big") != 1:
        return Refusal(Reason.BAD_MESSAGE, ResponseCode.FORMERR, message_id, flags)
    return query_of(message_id, flags, _question(message), _opt(message))


# dnspython reports bad bytes as its own exceptions, but rdata classes let ValueError and its kin through.
_DNSPYTHON_ERRORS: Final = (dns.exception.DNSException, ValueError, LookupError, TypeError, NotImplementedError)


def _question(message: dns.message.Message) -> bytes:
    question = message.question[0]
    name = question.name.to_wire() or b""
    return name + question.rdtype.to_bytes(2, "big") + question.rdclass.to_bytes(2, "big")


def _opt(message: dns.message.Message) -> Opt | None:
    if message.opt is None:
        return None
    options = b""
    for option in message.options:
        data = option.to_wire() or b""
        options += int(option.otype).to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    return Opt(message.payload, message.edns, message.ednsflags & 0xFFFF, options)
