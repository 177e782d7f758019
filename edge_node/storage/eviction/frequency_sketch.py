"""How often was a key asked for lately, in bounded memory: the counting Bloom filter of TinyLFU (Einziger et al., ACM ToS 2017).

Each key has ten counters of a shared table; a use adds one to each, the smallest of them is the estimate, never too low. From time to time all are
halved (the caller says when), so that old fame fades. Where the paper leaves the filter open, this is libCacheSim's: 14.4 counters for each expected entry
(ten hashes, 1 in 1000 wrong at that load), chosen as a + i*b in 32 bits, plain increments, 32-bit counters. About 58 bytes an entry.
"""

import math
import sys
from array import array
from typing import Final

ERROR_RATE: Final = 0.001
COUNTERS_PER_ENTRY: Final = -math.log(ERROR_RATE) / math.log(2) ** 2
HASHES: Final = math.ceil(COUNTERS_PER_ENTRY * math.log(2))
FEWEST_COUNTERS: Final = 2 * HASHES

WORD_MASK: Final = 0xFFFFFFFF
HALVING_CHUNK: Final = 1 << 14
"""Counters halved in one step: 64 KiB, small enough for the inner caches, and no second table is ever made."""

ROUNDS: Final = range(HASHES)


class FrequencySketch:
    """Counters of hashes: `hash64` is any 64-bit hash of a key, of which both halves are used."""

    __slots__ = ("_counters", "entries")

    def __init__(self, entries: int) -> None:
        self.entries = entries
        counters = max(math.ceil(COUNTERS_PER_ENTRY * entries), FEWEST_COUNTERS)
        self._counters = array("I", bytes(array("I").itemsize * counters))

    def add(self, hash64: int) -> None:
        """Count one use."""
        counters = self._counters
        size = len(counters)
        place = hash64 & WORD_MASK
        step = hash64 >> 32 & WORD_MASK
        try:
            for _ in ROUNDS:
                counters[place % size] += 1
                place = place + step & WORD_MASK
        except OverflowError:  # after four thousand million uses without ageing
            self.halve()

    def estimate(self, hash64: int) -> int:
        """The uses of a key since they last faded, or more."""
        counters = self._counters
        size = len(counters)
        place = hash64 & WORD_MASK
        step = hash64 >> 32 & WORD_MASK
        least = WORD_MASK
        for _ in ROUNDS:
            uses = counters[place % size]
            if uses < least:
                least = uses
            place = place + step & WORD_MASK
        return least

    def halve(self) -> None:
        """Let everything fade: each counter becomes half of itself, rounded down. Many at once, as one long integer: ten times and more faster than one by one."""
        counters = self._counters
        for start in range(0, len(counters), HALVING_CHUNK):
            chunk = counters[start : start + HALVING_CHUNK]
            without_top_bit = int.from_bytes(array("I", [WORD_MASK >> 1]) * len(chunk), sys.byteorder)
            halved = int.from_bytes(chunk, sys.byteorder) >> 1 & without_top_bit
            counters[start : start + HALVING_CHUNK] = array(
                "I", halved.to_bytes(len(chunk) * chunk.itemsize, sys.byteorder)
            )

    def double(self) -> None:
        """Room for twice the entries. A place modulo twice the size is the old one or lies one size further: a copy there keeps every estimate."""
        self._counters *= 2
        self.entries *= 2
