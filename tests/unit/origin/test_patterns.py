"""Generated content: the same from every side, and different wherever something could be mixed up."""

from origin.messages import Generated, Insertion
from origin.patterns import BLOCK_BYTES, BlockSource, pieces, read
from origin.transport_stream import PACKET_BYTES


def test_a_part_far_in_is_what_the_whole_has_there() -> None:
    whole = read("a", 0, 3 * BLOCK_BYTES + 100)
    assert read("a", 2 * BLOCK_BYTES - 7, 50) == whole[2 * BLOCK_BYTES - 7 :][:50]


def test_small_parts_have_a_fast_path_that_gives_the_bytes_of_the_block() -> None:
    block = BlockSource("small").block(0)
    for offset, length in ((0, 1), (0, BLOCK_BYTES), (5, 20), (16, 1_000), (BLOCK_BYTES - 1, 1)):
        assert read("small", offset, length) == block[offset : offset + length]


def test_an_offset_beyond_four_gibibytes_needs_no_prefix() -> None:
    parts = list(pieces(Generated("big", 10, offset=5 << 30)))
    assert sum(map(len, parts)) == 10 and len(parts) == 1


def test_neighbouring_blocks_differ_nearly_everywhere() -> None:
    source = BlockSource("a")
    first, second = source.block(7), source.block(8)
    same = sum(left == right for left, right in zip(first, second, strict=True))
    assert same < BLOCK_BYTES / 100


def test_blocks_whose_rotation_repeats_still_carry_their_number() -> None:
    source = BlockSource("a")
    assert source.block(3) != source.block(3 + 65_536)


def test_a_transport_stream_is_null_packets_all_through() -> None:
    stream = b"".join(pieces(Generated("film", PACKET_BYTES * 1_000, insertion=Insertion(b"", 1_000))))
    headers = {stream[start : start + 4] for start in range(0, len(stream), PACKET_BYTES)}
    assert headers == {b"\x47\x1f\xff\x10"}


def test_nothing_is_no_pieces() -> None:
    assert list(pieces(Generated("a", 0, offset=99))) == []
