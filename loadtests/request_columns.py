"""What a Locust process keeps of requests that are over, as cheaply as it can be had: values as they came, of many requests at once. Pure.

Nothing is looked at, parsed or formatted here that whoever reads the blocks (request_block.py) can do when the load is over.
"""

from collections.abc import Iterable

from loadtests.connection import Request, Response
from loadtests.exchange import Exchange
from loadtests.name_resolution import Answer
from loadtests.request_block import FIELDS, NO_ANSWER, NO_FIELDS, NOTHING, UNKNOWN, answer_piece, asker_piece
from loadtests.request_row import Asker

_NO_RESPONSE = Response(UNKNOWN, {}, b"", 0, UNKNOWN, "", UNKNOWN)
Numbers = tuple[int, int, int, int, int, int, int, int]
"""Of one row, as blocks have them."""


class Person:
    """Whoever asks: what of their rows is the same from one to the next, as it is written."""

    __slots__ = ("answer", "answer_piece", "asker_piece")

    def __init__(self, asker: Asker) -> None:
        self.asker_piece = asker_piece(asker)
        self.answer: Answer | None = None
        self.answer_piece = NO_ANSWER


Seen = tuple[Person, Answer | None, Request, str, str, dict[str, str], Numbers]
"""A request that is over: who asked, by which answer, what, where, what went wrong, fields and numbers. Not its body, which may be large. No NamedTuple: dearer."""


def seen_of(person: Person, intended_ns: int, request: Request, exchange: Exchange, error: str) -> Seen:
    """`error` is what the viewer saw go wrong, which may be more than the exchange knows, or nothing."""
    response, _, address, answer, attempts, started_ns, ended_ns = exchange
    status, headers, _, received_bytes, checksum, _, first_byte_ns = response or _NO_RESPONSE
    begun_ns = UNKNOWN if started_ns is None else started_ns
    numbers = (intended_ns, begun_ns, first_byte_ns, ended_ns, attempts, status, received_bytes, checksum)
    return person, answer, request, address, error, headers, numbers


def columns_of(seen: Iterable[Seen]) -> tuple[list[int], list[str]]:
    """The numbers and pieces of a block, in their order. Of many requests at a time: that costs much less than of each as it comes."""
    numbers: list[int] = []
    pieces: list[str] = []
    add_numbers, add_pieces = numbers.extend, pieces.extend
    for person, answer, request, address, error, headers, of_row in seen:
        if answer is not person.answer:
            person.answer = answer
            person.answer_piece = NO_ANSWER if answer is None else answer_piece(answer.addresses, answer.asked_ns)
        sent = request.headers
        authorization = sent.get("authorization", NOTHING) if sent else NOTHING
        cookie = sent.get("cookie", NOTHING) if sent else NOTHING
        add_numbers(of_row)
        add_pieces((person.asker_piece, person.answer_piece, address, request.method, request.path, error))
        add_pieces((authorization, cookie, *map(headers.get, FIELDS, NO_FIELDS)))
    return numbers, pieces
