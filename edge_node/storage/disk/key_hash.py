"""What the index knows a key by: the same after a restart, and nothing that a viewer could aim at.

The hash is the key, read as a number, modulo a prime of 60 bits that is drawn by chance and kept with the records (Rabin's fingerprint). Two keys that were chosen by
somebody who does not know the prime have one hash in one of 10^14 cases; Python's own hash of bytes is another one after each start.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

MODULUS_BITS: Final = 60
"""A hash of 60 bits is an int of 32 bytes. Two keys with one hash cost the older record, never a wrong answer."""

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""Enough for a sure answer below 3 * 10^24 (Sorenson and Webster, 2015)."""


LONGEST_NUMBER_BYTES: Final = 256
"""Longer keys are digested first: dividing a number takes five times as long as that."""


class KeyHash:
    """Hashes by one modulus."""

    __slots__ = ("modulus",)

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

    def of(self, key: bytes) -> int:
        """Of a key; the byte behind it makes keys that end in zeros different."""
        if len(key) > LONGEST_NUMBER_BYTES:
            key = hashlib.blake2b(key, digest_size=32).digest()
        return int.from_bytes(key + b"\x01", "little") % self.modulus


def new_modulus() -> int:
    """A prime of 60 bits."""
    while True:
        number = int.from_bytes(os.urandom(8), "little") >> 64 - MODULUS_BITS | 1 << MODULUS_BITS - 1 | 1
        if is_prime(number):
            return number


def is_modulus(number: int) -> bool:
    """Whether a modulus could be this number."""
    return number.bit_length() == MODULUS_BITS


def is_prime(number: int) -> bool:
    """Of an odd number above 37 and below 3 * 10^24 (Miller and Rabin)."""
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = number - 1 >> twos
    for witness in _WITNESSES:
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
