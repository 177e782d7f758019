"""One number from which every random choice of a lab follows (docs/repeating.md): what is drawn where, from the lab's seed and the names of who draws.

Names keep the choices apart: what one program, fault or relay draws changes nothing of what another one does. The hash is the same in every process and on every machine.
"""

import argparse
import hashlib
from random import Random
from typing import Final

MOST_SEED: Final = 10**11
"""A number that people can read out."""
_DERIVED_BYTES: Final = 8


def derived(seed: int, *names: str | int) -> int:
    """The seed of one of many who draw."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_DERIVED_BYTES]) >> 1


def rng_of(seed: int | None, *names: str | int) -> Random:
    """Who draws so many numbers gets the same ones again; without a seed others each time."""
    return Random() if seed is None else Random(derived(seed, *names))


def parse_seed(text: str) -> int:
    """The flag `--seed` of a program."""
    if text.isascii() and text.isdigit() and len(text) < 13 and int(text) <= MOST_SEED:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no seed: a whole number from 0 to {MOST_SEED}")
