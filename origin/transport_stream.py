"""An MPEG transport stream (ISO/IEC 13818-1, RFC 8216 section 3.2) from coded pictures and frames of sound.

A segment is whole in itself: tables first, and counters that begin at 0 and come back to 0 at its end, so that any segment of any rendition may follow any other
and only timestamps tell them apart. Pure byte work: which pictures, and when they are shown, is the caller's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import itemgetter

PACKET_BYTES = 188
TICKS_PER_SECOND = 90_000
NULL_PACKET_HEADER = b"\x47\x1f\xff\x10"
"""2.4.3: sync byte, PID 0x1FFF, payload only."""
DECODER_DELAY_TICKS = 63_000
"""A unit is shown 0.7 s after its first byte is due, as ffmpeg's muxer has it: so much may be on its way to a decoder's buffer."""

_PAYLOAD_BYTES = PACKET_BYTES - 4
_COUNTER_PERIOD = 16
_TICKS_MODULUS = 1 << 33
_TABLES_PID, _MAP_PID, _PICTURE_PID, _SOUND_PID = 0x0000, 0x1000, 0x0100, 0x0101
_PICTURE_STREAM, _SOUND_STREAM = 0xE0, 0xC0
_H264, _AAC_IN_ADTS = 0x1B, 0x0F


@dataclass(frozen=True, slots=True)
class Unit:
    """What is decoded at one moment: a picture, or a few frames of sound."""

    data: bytes
    ticks: int
    """When, in 1/90,000 s since the stream began; may be beyond the 33 bits of a timestamp, which then begins anew (2.4.3.6)."""
    is_key: bool = False
    """Nothing before it is needed (`random_access_indicator`, 2.4.3.4)."""


def multiplex(pictures: Sequence[Unit], sound: Sequence[Unit], ticks: range) -> bytes:
    """The packets of one segment, which lasts from the first tick to the last, in the order in which they are due."""
    tables = (
        (ticks.start + len(ticks) * number // _COUNTER_PERIOD, _tables(number)) for number in range(_COUNTER_PERIOD)
    )
    # The sort keeps what is due at once in this order: a decoder wants tables first.
    due = sorted(chain(tables, _picture_packets(pictures), _sound_packets(sound)), key=itemgetter(0))
    return b"".join(packets for _, packets in due)


def _picture_packets(pictures: Sequence[Unit]) -> Iterator[tuple[int, bytes]]:
    elementary = [_elementary_packet(_PICTURE_STREAM, unit) for unit in pictures]
    clocks = [_clock_reference(unit) for unit in pictures]
    return zip((unit.ticks for unit in pictures), _packets(_PICTURE_PID, elementary, clocks), strict=True)


def _sound_packets(sound: Sequence[Unit]) -> Iterator[tuple[int, bytes]]:
    elementary = [_elementary_packet(_SOUND_STREAM, unit) for unit in sound]
    return zip((unit.ticks for unit in sound), _packets(_SOUND_PID, elementary, [b""] * len(sound)), strict=True)


def _packets(pid: int, elementary: list[bytes], adaptations: list[bytes]) -> Iterator[bytes]:
    """The packets of each elementary packet. The last is spread over a few more than it needs, so that the number of all is one of whole counter periods."""
    counts = [
        -(-(len(data) + len(adaptation)) // _PAYLOAD_BYTES)
        for data, adaptation in zip(elementary, adaptations, strict=True)
    ]
    if counts:
        counts[-1] += -sum(counts) % _COUNTER_PERIOD
    counter = 0
    for data, adaptation, count in zip(elementary, adaptations, counts, strict=True):
        yield _split(pid, data, adaptation, range(counter, counter + count))
        counter += count


def _split(pid: int, data: bytes, adaptation: bytes, counters: range) -> bytes:
    """As many packets as there are counters; only the first begins an elementary packet and has the adaptation field."""
    packets, position = [], 0
    for number, counter in enumerate(counters):
        room = _PAYLOAD_BYTES - (len(adaptation) if number == 0 else 0)
        # At least a byte for each packet that follows.
        end = position + min(room, len(data) - position - (len(counters) - number - 1))
        packets.append(_packet(pid, number == 0, counter, adaptation if number == 0 else b"", data[position:end]))
        position = end
    return b"".join(packets)


def _packet(pid: int, is_start: bool, counter: int, adaptation: bytes, payload: bytes) -> bytes:
    """One packet (2.4.3.2); what the payload leaves free is stuffing in the adaptation field (2.4.3.4)."""
    free = _PAYLOAD_BYTES - len(adaptation) - len(payload)
    if free and adaptation:
        adaptation = bytes((adaptation[0] + free,)) + adaptation[1:] + b"\xff" * free
    elif free:
        adaptation = bytes((free - 1, 0))[:free] + b"\xff" * (free - 2)
    control = (0x30 if adaptation else 0x10) | counter % _COUNTER_PERIOD
    return bytes((0x47, is_start << 6 | pid >> 8, pid & 0xFF, control)) + adaptation + payload


def _clock_reference(unit: Unit) -> bytes:
    """An adaptation field with the program clock (2.4.3.5): the decoder's time when this unit is due."""
    flags = 0x50 if unit.is_key else 0x10
    # 33 bits of 90 kHz, 6 reserved, 9 of the remainder at 27 MHz, which is none.
    clock = (unit.ticks % _TICKS_MODULUS) << 15 | 0x7E00
    return bytes((7, flags)) + clock.to_bytes(6, "big")


def _elementary_packet(stream: int, unit: Unit) -> bytes:
    """A unit with the time at which it is shown (PES, 2.4.3.6). Of pictures the length may be left open; of sound it is said."""
    ticks = (unit.ticks + DECODER_DELAY_TICKS) % _TICKS_MODULUS
    shown = (
        0x21 << 32 | (ticks >> 30 & 7) << 33 | (ticks >> 15 & 0x7FFF) << 17 | 1 << 16 | (ticks & 0x7FFF) << 1 | 1
    ).to_bytes(5, "big")
    length = 0 if stream == _PICTURE_STREAM else 8 + len(unit.data)
    return b"\x00\x00\x01" + bytes((stream,)) + length.to_bytes(2, "big") + b"\x84\x80\x05" + shown + unit.data


@lru_cache(_COUNTER_PERIOD)
def _tables(counter: int) -> bytes:
    """Which program there is (2.4.4.3) and of which streams it is made (2.4.4.8)."""
    programs = _section(0x00, b"\x00\x01", _pid_field(_MAP_PID))
    streams = b"".join(
        bytes((kind,)) + _pid_field(pid) + b"\xf0\x00"
        for kind, pid in ((_H264, _PICTURE_PID), (_AAC_IN_ADTS, _SOUND_PID))
    )
    program_map = _section(0x02, b"", _pid_field(_PICTURE_PID) + b"\xf0\x00" + streams)
    return _section_packet(_TABLES_PID, counter, programs) + _section_packet(_MAP_PID, counter, program_map)


def _section_packet(pid: int, counter: int, section: bytes) -> bytes:
    # A pointer to the section, which begins at once (2.4.4.1); behind a section nothing but 0xFF.
    return _packet(pid, True, counter, b"", (b"\x00" + section).ljust(_PAYLOAD_BYTES, b"\xff"))


def _section(table: int, before: bytes, after: bytes) -> bytes:
    """A section of number 1, version 0, in force, the only one of its table, and its checksum."""
    body = b"\x00\x01\xc1\x00\x00" + before + after
    section = bytes((table,)) + (0xB000 | len(body) + 4).to_bytes(2, "big") + body
    return section + _checksum(section).to_bytes(4, "big")


def _pid_field(pid: int) -> bytes:
    return (0xE000 | pid).to_bytes(2, "big")


def _checksum(section: bytes) -> int:
    """CRC-32 of annex A: from the highest bit, not inverted at the end."""
    remainder = 0xFFFF_FFFF
    for byte in section:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x04C1_1DB7 if remainder >> 31 else 0)) & 0xFFFF_FFFF
    return remainder
