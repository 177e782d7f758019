"""Rows of `requests` as a Locust process writes them: blocks of what was seen, as it was seen. Whoever reads them makes rows of them, when the load is over. Pure.

A block (docs/history.md) is a head (`req`, a byte for the version, how many rows, how many bytes of text, the number of the first row), the numbers of all rows as
integers of 64 bits, and the texts of all rows as UTF-8, an end of line between two. It is data and nothing else: whatever stands in it is checked, nothing run.
"""

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from loadtests.request_row import Asker, RequestRow
from proto.history_file import MOST_WAITING, printable
from proto.origin_stamp import STAMP_FIELD, OriginStamp, identity_of, is_number, parse_stamp

VERSION: Final = 1
UNKNOWN: Final = -(1 << 63)
"""What stands for a number that is not known."""
NOTHING: Final = "\0"
"""What stands for a text that is not there; no field of HTTP has it."""
NUMBERS: Final = 8
"""Of a row: intended, started, first byte, ended, attempts, status, received bytes, checksum."""
FIELDS: Final = (
    *("x-amz-cf-id", "x-cache", "x-amz-cf-pop", "age", "cache-control", "etag"),
    *("content-range", "content-length", "content-encoding", STAMP_FIELD.lower()),
)
"""Of the response, as they came."""
NO_FIELDS: Final = (NOTHING,) * len(FIELDS)
PIECES: Final = 8 + len(FIELDS)
"""Of a row, as the writer puts them together: the asker's lines, the DNS answer's lines, address, method, path, error, Authorization, Cookie, FIELDS."""
_PIECES_OF_LINES = 2
"""The first ones; addresses and moment are the lines of an answer."""
_LINES = len(Asker._fields) + 2 + PIECES - _PIECES_OF_LINES
MOST_ROWS: Final = MOST_WAITING
MOST_TEXT_BYTES: Final = 1 << 26
_MARK = b"req"
_HEAD = Struct("<3sBIIQ")


class NoBlockError(Exception):
    """What stands there is no whole block; `rows` of it, as far as it says, are lost."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"{rows} rows are lost")
        self.rows = rows


class Block(NamedTuple):
    """Rows that were written at once."""

    prefix: str
    """Of the rows' ids; their numbers come behind it."""
    first_number: int
    numbers: Sequence[int]
    texts: Sequence[str]


def asker_piece(asker: Asker) -> str:
    """The part of a row that is written down of a person."""
    return "\n".join(map(printable, asker))


def answer_piece(addresses: Sequence[str], asked_ns: int) -> str:
    """The part of a row that is written down of an answer of the router."""
    return f"{','.join(addresses)}\n{asked_ns}"


NO_ANSWER: Final = f"{NOTHING}\n{NOTHING}"


def pack(prefix: str, first_number: int, numbers: Sequence[int], pieces: Sequence[str]) -> bytes:
    """`numbers` and `pieces` of all rows, one after the other. Nothing for more than a block holds."""
    rows = len(numbers) // NUMBERS
    text = "\n".join(pieces)
    if text.count("\n") != rows * _LINES - 1:  # some value has an end of a line in it
        of_lines = (number % PIECES < _PIECES_OF_LINES or each == NOTHING for number, each in enumerate(pieces))
        text = "\n".join([each if keeps else printable(each) for keeps, each in zip(of_lines, pieces, strict=True)])
    coded = f"{prefix}\n{text}".encode("utf-8", "replace")
    if rows > MOST_ROWS or len(coded) > MOST_TEXT_BYTES:
        return b""
    packed = struct.pack(f"{len(numbers)}q", *numbers)  # in the machine's order: twice as quick as any other
    if sys.byteorder == "big":
        packed = _little(array("q", packed)).tobytes()
    return _HEAD.pack(_MARK, VERSION, rows, len(coded), first_number) + packed + coded


def read_block(file: BinaryIO) -> Block | None:
    """The next one; None at the end. NoBlockError: what follows in the file cannot be read either."""
    head = file.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise NoBlockError(1)
    mark, version, rows, size, first_number = _HEAD.unpack(head)
    if mark != _MARK or version != VERSION or not 0 < rows <= MOST_ROWS or size > MOST_TEXT_BYTES:
        raise NoBlockError(1)
    numbers = array("q")
    packed, coded = file.read(rows * NUMBERS * numbers.itemsize), file.read(size)
    if len(packed) < rows * NUMBERS * numbers.itemsize or len(coded) < size:
        raise NoBlockError(rows)
    numbers.frombytes(packed)
    prefix, *texts = coded.decode("utf-8", "replace").split("\n")
    if len(texts) != rows * _LINES:
        raise NoBlockError(rows)
    return Block(prefix, first_number, _little(numbers), texts)


def _little(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def rows_of(block: Block) -> Iterator[RequestRow]:
    """In their order."""
    for index in range(len(block.numbers) // NUMBERS):
        yield _row(
            f"{block.prefix}{block.first_number + index}",
            [None if each == UNKNOWN else each for each in block.numbers[index * NUMBERS : (index + 1) * NUMBERS]],
            [None if each == NOTHING else each for each in block.texts[index * _LINES : (index + 1) * _LINES]],
        )


def _row(row_id: str, numbers: Sequence[int | None], texts: Sequence[str | None]) -> RequestRow:
    intended_ns, started_ns, first_byte_ns, ended_ns, attempts, status, received_bytes, checksum = numbers
    profile, region, viewer, client_address, host, addresses, asked, address, method, path, error, *rest = texts
    authorization, cookie, request_id, x_cache, pop, age, cache_control, entity_tag, content_range, *rest = rest
    length, content_encoding, stamp_text = rest
    stamp = None if stamp_text is None else _stamp(stamp_text)
    return RequestRow(
        row_id,
        request_id,
        profile or "",
        region or "",
        viewer or "",
        client_address,
        intended_ns or 0,
        started_ns,
        first_byte_ns,
        ended_ns or 0,
        addresses,
        _number(asked),
        address or None,
        attempts or 0,
        method or "",
        host or "",
        path or "",
        identity_of(authorization, cookie),
        status,
        x_cache,
        pop,
        _number(age),
        cache_control,
        entity_tag,
        content_range,
        _number(length),
        received_bytes or 0,
        checksum,
        stamp.node if stamp else None,
        stamp.version if stamp else None,
        stamp.produced_ns if stamp else None,
        stamp.checksum if stamp else None,
        stamp.identity if stamp else None,
        error or None,
        content_encoding,
    )


@lru_cache(4_096)
def _stamp(text: str) -> OriginStamp | None:
    return parse_stamp(text)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and is_number(text) else None
