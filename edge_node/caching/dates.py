"""HTTP dates (RFC 9110 section 5.6.7)."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def parse_http_date(value: bytes) -> float | None:
    """Seconds since the epoch, or None when it is no date. All three forms of the RFC; a date without a zone is GMT."""
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=16)
def format_http_date(seconds: int) -> bytes:
    """IMF-fixdate."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True).encode("ascii")
