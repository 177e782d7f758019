"""Bodies compressed as they pass: gzip, Brotli and zstd behind one small interface, in bounded memory. Whether to compress is decided in `policy/compression.py`.

Levels, measured with 64 KiB of JavaScript on the reference machine: gzip (isal) 2: 0.09 ms, 32.7 %; Brotli 5: 0.95 ms, 27.5 %; zstd 3: 0.19 ms, 30.3 %. A body is
compressed once and sent many times, so size counts for more than time; above these levels time doubles for less than a hundredth of the size.
"""

from collections.abc import Callable
from typing import Final

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor py.typed
import zstandard
from isal import isal_zlib

GZIP_LEVEL: Final = 2
BROTLI_QUALITY: Final = 5
ZSTD_LEVEL: Final = 3

LARGEST_WINDOW_BITS: Final = 18
"""256 KiB for Brotli and zstd (RFC 9659 allows 8 MiB): 1 MiB of JavaScript becomes 30.7 % of itself, and 30.6 % with four times the window and twice the memory."""
FLUSH_BYTES: Final = 32_768
"""No more than so many bytes of the body wait inside an encoder. 1 MiB of JavaScript grows by 0.2 % of its size from it."""

SMALL_BODY_BYTES: Final = 32_768
SMALL_STREAM_BYTES: Final = 655_360
LARGE_STREAM_BYTES: Final = 3_670_016
"""What a stream takes at most, measured: 517 KiB for bodies of up to 32 KiB, 3.3 MiB for larger ones, both with Brotli (gzip 0.4 MiB, zstd 1.4 MiB)."""
MEMORY_BYTES: Final = 67_108_864
"""Of all streams of a node together: 102 small ones or 18 large ones. Beyond it a response is passed on as it is (reference 2.7: best effort)."""

Step = Callable[[bytes], bytes]
End = Callable[[], bytes]


class Encoder:
    """What the libraries have in common."""

    __slots__ = ("finish", "flush", "process")

    def __init__(self, process: Step, flush: End, finish: End) -> None:
        self.process = process
        """Take a piece; what is ready comes back."""
        self.flush = flush
        """Give out all that was taken."""
        self.finish = finish


class Compressor:
    """One body on its way; made by `Compressors.open`."""

    def __init__(self, encoder: Encoder, length: int, release: Callable[[], None]) -> None:
        self._encoder = encoder
        self._release: Callable[[], None] | None = release
        self._remaining_bytes = length
        self._held_bytes = FLUSH_BYTES
        """What may wait inside the encoder; counted as full at first, so that the first read goes out at once."""

    def compress(self, chunk: bytes) -> bytes:
        """What is ready to be sent after this piece: often nothing, so that there is nothing to send.

        The encoder is flushed after the first piece and whenever FLUSH_BYTES have gone in since the last time, but not at the end, which `finish` writes.
        """
        data = self._encoder.process(chunk)
        self._remaining_bytes -= len(chunk)
        self._held_bytes += len(chunk)
        if self._held_bytes < FLUSH_BYTES or self._remaining_bytes <= 0:
            return data
        self._held_bytes = 0
        return data + self._encoder.flush()

    def finish(self) -> bytes:
        """The end of the encoded body. Only for a body that is whole: one that broke off is closed, and must not look complete."""
        data = self._encoder.finish()
        self.close()
        return data

    def close(self) -> None:
        """Release the memory; as often as anybody likes."""
        release, self._release = self._release, None
        if release is not None:
            self._encoder = _CLOSED
            release()


class Compressors:
    """All streams of a node, within one bound on memory."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._free_bytes = memory_bytes

    def open(self, coding: bytes, length: int) -> Compressor | None:
        """An encoder for a body of this length; None when too many are at work."""
        cost = stream_bytes(length)
        if cost > self._free_bytes:
            return None
        encoder = _ENCODERS[coding](length)
        self._free_bytes -= cost
        return Compressor(encoder, length, lambda: self._release_cost(cost))

    def _release_cost(self, cost: int) -> None:
        self._free_bytes += cost


def stream_bytes(length: int) -> int:
    """The memory that is set aside for a body of this length."""
    return SMALL_STREAM_BYTES if length <= SMALL_BODY_BYTES else LARGE_STREAM_BYTES


def _window_bits(length: int, smallest: int) -> int:
    """No window is larger than the body."""
    return max(smallest, min(LARGEST_WINDOW_BITS, length.bit_length()))


def _gzip(length: int) -> Encoder:
    del length  # its window is always 32 KiB (RFC 1951 section 2)
    encoder = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    return Encoder(
        encoder.compress, lambda: encoder.flush(isal_zlib.Z_SYNC_FLUSH), lambda: encoder.flush(isal_zlib.Z_FINISH)
    )


def _brotli(length: int) -> Encoder:
    encoder = brotli.Compressor(quality=BROTLI_QUALITY, lgwin=_window_bits(length, 16))
    return Encoder(encoder.process, encoder.flush, encoder.finish)


def _zstd(length: int) -> Encoder:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        ZSTD_LEVEL, source_size=length, window_log=_window_bits(length, 10)
    )
    encoder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return Encoder(encoder.compress, lambda: encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK), encoder.flush)


def _closed_step(chunk: bytes) -> bytes:
    raise ValueError(f"{len(chunk)} bytes after the end of the body")


def _closed_end() -> bytes:
    raise ValueError("the body has ended already")


_CLOSED: Final = Encoder(_closed_step, _closed_end, _closed_end)
"""Of a body that has ended: the library's encoder, and its memory, is gone."""
_ENCODERS: dict[bytes, Callable[[int], Encoder]] = {b"gzip": _gzip, b"br": _brotli, b"zstd": _zstd}
