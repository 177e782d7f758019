"""Compressed files, decompressed while they are read; a cut one is an error and not a shorter file."""

import gzip
import io
from typing import IO

import zstandard

COMPRESSIONS = (".gz", ".zst")
_ZSTD_INPUT_BYTES = 2_048
"""A block of 4 bytes can stand for 128 KiB (RFC 8878 section 3.1.1.2), so this bounds what is decompressed at once to 64 MiB."""


def decompressed(file: IO[bytes], name: str) -> io.BufferedReader:
    """What a file of this name holds. EOFError, OSError or zlib.error while reading say that it is cut or damaged."""
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), 128 * 1024)
    if name.endswith(".zst"):
        return io.BufferedReader(_ZstdStream(file), 128 * 1024)
    return io.BufferedReader(file, 128 * 1024)  # type: ignore[arg-type]  # the same


def uncompressed_name(name: str) -> str:
    """A file's name without what says how it is compressed."""
    for extension in COMPRESSIONS:
        name = name.removesuffix(extension)
    return name


class _ZstdStream(io.RawIOBase):
    """Frames one behind the other. The library's own reader takes a cut frame for a whole one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_inside = False
        self._compressed = b""
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the interpreter gives nothing else
        while not self._pending and self._decompress():
            pass
        taken = min(len(buffer), len(self._pending))
        buffer[:taken] = self._pending[:taken]
        self._pending = self._pending[taken:]
        return taken

    def _decompress(self) -> bool:
        """A little more; false: there is no more."""
        compressed = self._compressed or self._file.read(_ZSTD_INPUT_BYTES)
        self._compressed = b""
        if not compressed:
            if self._is_inside:
                raise EOFError("the file ends within a frame of zstd")
            return False
        try:
            self._pending = memoryview(self._frame.decompress(compressed))
        except zstandard.ZstdError as error:
            raise EOFError(f"no zstd: {error}") from error
        self._is_inside = not self._frame.eof
        if self._frame.eof:
            self._compressed = self._frame.unused_data
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        return True
