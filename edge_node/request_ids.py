"""Request ids: 56 base64url-like characters ending "==" (reference 2.12), unique per request."""

import itertools


class RequestIds:
    """A random prefix per process, and a counter."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, random_bytes: bytes) -> None:
        self._prefix = random_bytes.hex().encode()[:40].ljust(40, b"0")
        self._count = itertools.count(1)

    def next(self) -> bytes:
        """The next id."""
        return b"%b%014x==" % (self._prefix, next(self._count))
