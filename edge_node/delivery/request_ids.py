"""Request ids: 56 base64url-like characters ending "==" (reference 2.12), unique per request."""

from typing import Final

_ENDS: Final = tuple(b"%03x==" % number for number in range(4_096))


class RequestIds:
    """A random prefix per process, and a counter in hexadecimal; its last three digits come from a table, since one is made for each request."""

    __slots__ = ("_next_end", "_prefix", "_start", "_thousands")

    def __init__(self, random_bytes: bytes) -> None:
        self._prefix = random_bytes.hex().encode()[:40].ljust(40, b"0")
        self._thousands = 0
        self._next_end = 0
        self._start = b"%b%011x" % (self._prefix, 0)

    def next(self) -> bytes:
        """The next id."""
        end = self._next_end
        if end == len(_ENDS):
            end = 0
            self._thousands += 1
            self._start = b"%b%011x" % (self._prefix, self._thousands)
        self._next_end = end + 1
        return self._start + _ENDS[end]
