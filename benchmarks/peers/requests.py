"""What browsers send, and which objects are asked for how often: shared by all load generators. Pure."""

import random
from collections.abc import Mapping
from itertools import accumulate

HOST_NAME = "d1.cdn.localhost"
ZIPF_KEYS = 10_000
BROWSER_HEADERS = {
    "Connection": "keep-alive",
    "sec-ch-ua": '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Referer": "http://d1.cdn.localhost/articles/2026/11/the-weather-of-the-week",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7",
    "Cookie": "session=3f9a2c81d07b4e55a1c6; theme=dark; consent=analytics%3Dfalse; _visit=1763712000.4.1",
    "DNT": "1",
    "Priority": "u=0, i",
    "Save-Data": "on",
    "sec-ch-prefers-color-scheme": "light",
}
"""With Host, the twenty fields of a navigation; those of a reload, which ask for validation, are not among them."""


def request_to(target: str, headers: Mapping[str, str] | None = None) -> bytes:
    """As it goes over the wire."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {target} HTTP/1.1\r\nHost: {HOST_NAME}\r\n{fields}\r\n".encode()


def zipf_keys(count: int, keys: int, rng: random.Random, exponent: float = 1.0) -> list[int]:
    """Draws of 1 to `keys`, of which k comes k^-exponent times as often as 1."""
    bounds = list(accumulate(key**-exponent for key in range(1, keys + 1)))
    return rng.choices(range(1, keys + 1), cum_weights=bounds, k=count)
