"""Content that is computed, not stored: any byte of an object of any size from its name and position alone.

An object is a row of blocks. A block is one pseudo-random base per seed, rotated by an amount that depends on the block number,
with the seed's digest and the block number written into it. So a lost, repeated, shifted or foreign part differs from what
`read` says in nearly every byte, and a range costs nothing for what lies before it. Of a transport stream the blocks are null packets,
and the packets of a film are put in the place of some. No I/O here, and no knowledge of what is served.
"""

from collections.abc import Iterator
from hashlib import shake_256

from origin.messages import Generated, Insertion
from origin.transport_stream import NULL_PACKET_HEADER, PACKET_BYTES

BLOCK_BYTES = 65_536
_PACKETS_PER_BLOCK = 344
_LABEL_BYTES = 16
# Odd, so that all 65,536 rotations occur before one repeats.
_ROTATION_STEP = 40_503


class BlockSource:
    """The blocks of one seed."""

    __slots__ = ("_base", "_digest", "_label_at", "_step", "_unit_bytes", "block_bytes")

    def __init__(self, seed: str, is_transport_stream: bool = False) -> None:
        name = seed.encode()
        self._digest = shake_256(name).digest(8)
        if is_transport_stream:
            base = _null_packets(name)
            self._unit_bytes, self._step, self._label_at = PACKET_BYTES, 1, len(NULL_PACKET_HEADER)
        else:
            base = shake_256(name).digest(BLOCK_BYTES)
            self._unit_bytes, self._step, self._label_at = 1, _ROTATION_STEP, 0
        self.block_bytes = len(base)
        self._base = base + base

    def block(self, number: int) -> bytes:
        """The whole block with this number."""
        rotation = number * self._step * self._unit_bytes % self.block_bytes
        label_start = rotation + self._label_at
        label = self._digest + (number & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big")
        return b"".join(
            (
                self._base[rotation:label_start],
                label,
                self._base[label_start + _LABEL_BYTES : rotation + self.block_bytes],
            )
        )


def _start_of_first_block(body: Generated) -> bytes:
    """What `BlockSource` gives there, without a whole base: block 0 is not rotated, and a longer digest begins with a shorter one."""
    name, end = body.seed.encode(), body.offset + body.length
    base = shake_256(name).digest(end)
    return (shake_256(name).digest(8) + bytes(8) + base[_LABEL_BYTES:])[body.offset : end]


def _null_packets(name: bytes) -> bytes:
    payload_bytes = PACKET_BYTES - len(NULL_PACKET_HEADER)
    payload = shake_256(name).digest(payload_bytes * _PACKETS_PER_BLOCK)
    return b"".join(
        NULL_PACKET_HEADER + payload[start : start + payload_bytes] for start in range(0, len(payload), payload_bytes)
    )


def _with_inserted(block: bytes, first: int, insertion: Insertion) -> bytes:
    """A block of null packets, of which `first` is the number in the stream, with the inserted packets that fall into it."""
    count, total = len(insertion.packets) // PACKET_BYTES, insertion.total_packets
    # Inserted packet k has the place k * total // count: the first one at or after a place is found by rounding up.
    last = min(first + len(block) // PACKET_BYTES, total)
    numbers = range(-(-first * count // total), -(-last * count // total))
    view, parts, done = memoryview(block), list[bytes | memoryview](), 0
    for number in numbers:
        start = (number * total // count - first) * PACKET_BYTES
        parts += (view[done:start], insertion.packets[number * PACKET_BYTES : (number + 1) * PACKET_BYTES])
        done = start + PACKET_BYTES
    return b"".join((*parts, view[done:]))


def pieces(body: Generated) -> Iterator[bytes]:
    """The bytes of a generated body, at most one block at a time."""
    if not body.length:
        return
    insertion = body.insertion
    if insertion is None and body.offset + body.length <= BLOCK_BYTES:
        yield _start_of_first_block(body)
        return
    source = BlockSource(body.seed, is_transport_stream=insertion is not None)
    position, end = body.offset, body.offset + body.length
    while position < end:
        number, skip = divmod(position, source.block_bytes)
        block = source.block(number)
        if insertion is not None and insertion.packets:
            block = _with_inserted(block, number * _PACKETS_PER_BLOCK, insertion)
        part = block[skip : skip + end - position] if skip or end - position < len(block) else block
        position += len(part)
        yield part


def read(seed: str, offset: int, length: int) -> bytes:
    """`length` bytes from `offset` of the content named by `seed`."""
    return b"".join(pieces(Generated(seed, length, offset)))
