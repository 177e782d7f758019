"""Segments of the film, read by the letter of ISO/IEC 13818-1: counters, clocks, tables, and what is put together from them again."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from origin.footage.reader import read_footage, split_pictures, split_sound
from origin.footage.renditions import PICTURE_LOOP_SECONDS, RENDITIONS, SOUND_LOOP_SECONDS, Rendition
from origin.footage.segments import SEGMENT_SECONDS, segment_packets
from origin.transport_stream import DECODER_DELAY_TICKS, PACKET_BYTES, TICKS_PER_SECOND

FOOTAGE = read_footage()
PICTURES, SOUND = 0x100, 0x101
SEGMENTS_PER_LOOP = SOUND_LOOP_SECONDS // SEGMENT_SECONDS


@dataclass
class Reading:
    """What a strict demultiplexer got from a stream."""

    counters: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    clocks: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    elementary: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def units(self, pid: int) -> list[tuple[int, bytes]]:
        """Time of showing and data of each elementary packet."""
        return [(shown_at(packet), packet[14:]) for packet in self.elementary[pid]]


def demultiplexed(stream: bytes) -> Reading:
    reading = Reading()
    for start in range(0, len(stream), PACKET_BYTES):
        packet = stream[start : start + PACKET_BYTES]
        assert len(packet) == PACKET_BYTES and packet[0] == 0x47
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        assert packet[3] & 0x10, "every packet here has a payload, so that its counter counts"
        payload = packet[4:]
        if packet[3] & 0x20:
            length = packet[4]
            assert length <= 182
            fields, payload = packet[5 : 5 + length], packet[5 + length :]
            if length and fields[0] & 0x10:
                reading.clocks.append(int.from_bytes(fields[1:7], "big") >> 15)
                reading.keys.append(bool(fields[0] & 0x40))
        if pid == 0x1FFF:
            continue
        reading.counters[pid].append(packet[3] & 0x0F)
        if packet[1] & 0x40:
            reading.elementary[pid].append(payload)
        else:
            reading.elementary[pid][-1] += payload
    return reading


def shown_at(packet: bytes) -> int:
    assert packet[:3] == b"\x00\x00\x01" and packet[7] & 0xC0 == 0x80 and packet[8] == 5
    length = int.from_bytes(packet[4:6], "big")
    assert length in (0, len(packet) - 6)
    bits = int.from_bytes(packet[9:14], "big")
    assert bits >> 36 == 2 and bits & 0x1_0001_0001 == 0x1_0001_0001, "marker bits"
    return (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | (bits >> 1 & 0x7FFF)


def crc(section: bytes) -> int:
    """0 over a section with its checksum (annex A), by long division of polynomials over all bits at once."""
    bits = int.from_bytes(section, "big") ^ 0xFFFF_FFFF << (8 * len(section) - 32)
    bits <<= 32
    while bits.bit_length() > 32:
        bits ^= 0x1_04C1_1DB7 << bits.bit_length() - 33
    return bits


def segments(rendition: Rendition, first: int, count: int) -> Iterator[bytes]:
    return (segment_packets(FOOTAGE, rendition.name, number, SEGMENT_SECONDS) for number in range(first, first + count))


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda rendition: rendition.name)
def test_segments_of_more_than_a_loop_give_the_film_in_order(rendition: Rendition) -> None:
    reading = demultiplexed(b"".join(segments(rendition, 0, SEGMENTS_PER_LOOP + 1)))
    pictures, sound = FOOTAGE.pictures[rendition.name], FOOTAGE.sound
    shown, heard = reading.units(PICTURES), reading.units(SOUND)
    assert [data for _, data in shown] == [pictures[number % len(pictures)] for number in range(len(shown))]
    assert len(shown) == 25 * SEGMENT_SECONDS * (SEGMENTS_PER_LOOP + 1)
    assert [tick for tick, _ in shown] == [DECODER_DELAY_TICKS + 3_600 * number for number in range(len(shown))]
    frames = list(split_sound(b"".join(data for _, data in heard)))
    assert frames == [sound[number % len(sound)] for number in range(len(frames))]
    ends_at = DECODER_DELAY_TICKS + SEGMENT_SECONDS * (SEGMENTS_PER_LOOP + 1) * TICKS_PER_SECOND
    assert 0 <= DECODER_DELAY_TICKS + len(frames) * 1_920 - ends_at < 1_920


def test_sound_has_its_time_however_many_frames_go_together() -> None:
    expected = DECODER_DELAY_TICKS
    for tick, data in demultiplexed(b"".join(segments(RENDITIONS[0], 0, SEGMENTS_PER_LOOP))).units(SOUND):
        assert tick == expected
        expected += 1_920 * len(list(split_sound(data)))


def test_any_segment_of_any_rendition_may_follow_any_other() -> None:
    mixed = b"".join(
        segment_packets(FOOTAGE, rendition.name, number, seconds)
        for rendition in (*RENDITIONS, *reversed(RENDITIONS))
        for number, seconds in ((7, 6), (2, 1), (3, 5), (1 << 29, 6))
    )
    for pid, counters in demultiplexed(mixed).counters.items():
        assert all(after == (before + 1) % 16 for before, after in pairwise(counters)), f"PID {pid:#x}"


def test_a_segment_begins_with_tables_and_a_key_picture() -> None:
    for segment in segments(RENDITIONS[0], 5, 3):
        reading = demultiplexed(segment)
        assert segment[1:3] == b"\x40\x00" and segment[PACKET_BYTES + 1 : PACKET_BYTES + 3] == b"\x50\x00"
        assert segment[2 * PACKET_BYTES + 1 : 2 * PACKET_BYTES + 3] == b"\x41\x00"
        assert reading.keys == [True] + [False] * 149


def test_tables_say_what_there_is() -> None:
    reading = demultiplexed(next(segments(RENDITIONS[0], 0, 1)))
    for pid, table in ((0, 0), (0x1000, 2)):
        assert len(set(reading.elementary[pid])) == 1
        packet = reading.elementary[pid][0]
        assert packet[0] == 0 and packet[1] == table
        length = int.from_bytes(packet[2:4], "big") & 0xFFF
        assert crc(packet[1 : 4 + length]) == 0
        assert set(packet[4 + length :]) == {0xFF}
    streams = reading.elementary[0x1000][0][13:23]
    assert streams == b"\x1b\xe1\x00\xf0\x00\x0f\xe1\x01\xf0\x00"


def test_the_clock_runs_ahead_of_what_is_shown_and_never_back() -> None:
    reading = demultiplexed(b"".join(segments(RENDITIONS[1], 0, 3)))
    assert all(0 < after - before <= TICKS_PER_SECOND // 10 for before, after in pairwise(reading.clocks))
    assert reading.clocks == [tick - DECODER_DELAY_TICKS for tick, _ in reading.units(PICTURES)]


def test_timestamps_begin_anew_behind_33_bits() -> None:
    number = (1 << 33) // (SEGMENT_SECONDS * TICKS_PER_SECOND)
    ticks = [tick for tick, _ in demultiplexed(next(segments(RENDITIONS[0], number, 1))).units(PICTURES)]
    steps = {(after - before) % (1 << 33) for before, after in pairwise(ticks)}
    assert steps == {3_600} and max(ticks) < 1 << 33 and min(ticks) < ticks[0]


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda rendition: rendition.name)
@pytest.mark.parametrize("seconds", range(1, SEGMENT_SECONDS + 1))
def test_the_film_fits_into_its_bit_rate(rendition: Rendition, seconds: int) -> None:
    for number in range(SEGMENTS_PER_LOOP):
        packets = segment_packets(FOOTAGE, rendition.name, number, seconds)
        assert len(packets) <= rendition.packets_in(seconds) * PACKET_BYTES


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda rendition: rendition.name)
def test_the_codec_string_is_what_the_stream_says_of_itself(rendition: Rendition) -> None:
    """RFC 6381 section 3.3: profile, constraints and level, the three bytes behind the header of the sequence parameter set."""
    first = FOOTAGE.pictures[rendition.name][0]
    at = first.index(b"\x00\x00\x01\x67") + 4
    said = rendition.codecs.split(",")[0].removeprefix("avc1.")
    assert said == first[at : at + 3].hex()


def test_loops_are_whole_numbers_of_segments_in_pictures_and_in_frames_of_sound() -> None:
    pictures = {len(loop) for loop in FOOTAGE.pictures.values()}
    assert pictures == {25 * PICTURE_LOOP_SECONDS} and PICTURE_LOOP_SECONDS % SEGMENT_SECONDS == 0
    assert len(FOOTAGE.sound) * 1_024 == SOUND_LOOP_SECONDS * 48_000 and SOUND_LOOP_SECONDS % SEGMENT_SECONDS == 0


def test_what_is_no_stream_is_refused() -> None:
    assert list(split_pictures(b"nothing")) == []
    with pytest.raises(ValueError, match="no frame of AAC at byte 0"):
        list(split_sound(b"nothing at all"))
