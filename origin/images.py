"""Images of a wanted size that a browser shows: PNG (RFC 2083), JPEG (ITU-T T.81) and SVG, each the same bytes for the same seed.

The picture itself is small and plain; the size comes from ancillary chunks, comment segments or many shapes.
"""

import struct
import zlib
from random import Random

from origin.patterns import read

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_SIDE = 240
_JPEG_SIDE = 240
_MAX_JPEG_SEGMENT = 65_533


def png(seed: str, size_bytes: int) -> bytes:
    """A colour gradient, of exactly this size if that is enough for it."""
    head = _PNG_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", _PNG_SIDE, _PNG_SIDE, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(_gradient(Random(seed)), 6))
    end = _chunk(b"IEND", b"")
    padding = size_bytes - len(head) - len(pixels) - len(end) - 12
    # The case of the letters means: ancillary, private, safe to copy (RFC 2083, 3.3).
    filler = _chunk(b"paDd", read(seed, 0, padding)) if padding > 0 else b""
    return head + pixels + filler + end


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _gradient(rng: Random) -> bytes:
    """Rows of RGB from one colour to another, each behind its filter byte."""
    first, last = ([rng.randrange(256) for _ in range(3)] for _ in range(2))
    rows = []
    for row in range(_PNG_SIDE):
        colour = bytes(start + (end - start) * row // _PNG_SIDE for start, end in zip(first, last, strict=True))
        rows.append(b"\x00" + colour * _PNG_SIDE)
    return b"".join(rows)


def jpeg(seed: str, size_bytes: int) -> bytes:
    """A plain grey square (baseline, one component) with comments up to this size."""
    rng = Random(seed)
    level = rng.choice((-1, 1)) * rng.randrange(64, 128)  # dark or light: these are the values that take seven bits
    head = b"\xff\xd8" + _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
    frame = struct.pack(">BHHB", 8, _JPEG_SIDE, _JPEG_SIDE, 1) + b"\x01\x11\x00"
    tables = _segment(0xDB, b"\x00" + b"\x08" * 64) + _segment(0xC0, frame) + _huffman_tables()
    scan = _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + _grey_blocks(level)
    end = b"\xff\xd9"
    padding = size_bytes - len(head) - len(tables) - len(scan) - len(end)
    return head + _comments(seed, padding) + tables + scan + end


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _huffman_tables() -> bytes:
    """DC: code 0 for "no difference", code 10 for a difference of seven bits. AC: code 0 for "end of block"."""
    direct = b"\x00" + bytes([1, 1] + [0] * 14) + b"\x00\x07"
    alternating = b"\x10" + bytes([1] + [0] * 15) + b"\x00"
    return _segment(0xC4, direct) + _segment(0xC4, alternating)


def _grey_blocks(level: int) -> bytes:
    """The first 8x8 block sets the level, all others differ by nothing."""
    # T.81, F.1.2.1.1: a negative difference is written as its value less one, in the low bits.
    bits = "10" + format(level if level > 0 else level + 127, "07b") + "0"
    bits += "00" * ((_JPEG_SIDE // 8) ** 2 - 1)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\x00")  # byte stuffing


def _comments(seed: str, size_bytes: int) -> bytes:
    filler = read(seed, 0, max(0, size_bytes))
    segments = []
    while len(filler) > 4:
        part = filler[: _MAX_JPEG_SEGMENT + 4]
        segments.append(_segment(0xFE, part[4:]))
        filler = filler[len(part) :]
    return b"".join(segments)


def svg(seed: str, size_bytes: int) -> bytes:
    """Circles, as many as it takes."""
    rng = Random(seed)
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000">\n']
    size = len(lines[0]) + len("</svg>\n")
    while size < size_bytes:
        x, y, radius, hue = rng.randrange(1000), rng.randrange(1000), rng.randrange(5, 60), rng.randrange(360)
        lines.append(f'<circle cx="{x}" cy="{y}" r="{radius}" fill="hsl({hue} 70% 50%)" fill-opacity="0.4"/>\n')
        size += len(lines[-1])
    return "".join([*lines, "</svg>\n"]).encode()
