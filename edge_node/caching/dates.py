"""HTTP dates (RFC 9110 section 5.6.7)."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_DATE_BYTES = 64
"""The longest form of the RFC has 33 octets; what is longer is no date, and not worth remembering."""


def parse_http_date(value: bytes) -> float | None:
    """Seconds since the epoch, or None when it is no date. All three forms of the RFC; a date without a zone is GMT."""
    return _parse(value) if len(value) <= LONGEST_DATE_BYTES else None


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> float | None:
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
