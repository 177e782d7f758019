"""Single byte ranges of a stored response (RFC 9110 section 14, reference 2.8).

Anything but one satisfiable or plainly unsatisfiable range is answered with the whole response: invalid ranges as reference 2.8 says, several ranges
because this version does not send multipart/byteranges.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByteRange:
    """First and last position, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes in it."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No byte of the response is in the range: 416."""


def parse_range(field: bytes, length: int) -> ByteRange | Unsatisfiable | None:
    """What a Range field selects of a representation of `length` bytes; None: ignore the field."""
    unit, separator, specification = field.partition(b"=")
    if not separator or unit.strip().lower() != b"bytes":
        return None
    first_text, dash, last_text = (part.strip() for part in specification.partition(b"-"))
    if not dash or not all(text == b"" or (text.isdigit() and len(text) < 20) for text in (first_text, last_text)):
        return None
    if not first_text:
        return _suffix(last_text, length)
    first = int(first_text)
    last = int(last_text) if last_text else length - 1
    if last_text and last < first:
        return None
    return Unsatisfiable() if first >= length else ByteRange(first, min(last, length - 1))


def _suffix(last_text: bytes, length: int) -> ByteRange | Unsatisfiable | None:
    """`-N`: the last N bytes."""
    if not last_text:
        return None
    wanted = int(last_text)
    return Unsatisfiable() if wanted == 0 or length == 0 else ByteRange(max(0, length - wanted), length - 1)
