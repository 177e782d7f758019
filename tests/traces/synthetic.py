"""Made traces: independent requests whose popularity follows Zipf's law."""

import random
from functools import cache
from itertools import accumulate


@cache
def zipf_trace(alpha: float, seed: int, requests: int = 100_000, objects: int = 50_000) -> list[int]:
    """Object numbers from 1 on; the n-th is asked for n ** -alpha as often as the first."""
    weights = list(accumulate(rank**-alpha for rank in range(1, objects + 1)))
    return random.Random(seed).choices(range(1, objects + 1), cum_weights=weights, k=requests)
