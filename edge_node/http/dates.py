"""HTTP dates (RFC 9110 section 5.6.7), as RFC 9111 section 4.2 wants a cache to read them: any case, but no zone other than GMT and no other deviation.

A date that is not understood is None; what that means (already expired, absent, a condition to ignore) is the field's own rule.
"""

import re
from calendar import timegm
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

LONGEST_DATE_BYTES: Final = 64
"""The longest form of the RFC has 33 octets; what is longer is no date, and not worth remembering."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate((b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)
}  # fmt: skip
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH: Final = rb"(?P<month>[a-z]{3})"
_FORMS = (
    re.compile(rb"(?:mon|tue|wed|thu|fri|sat|sun), (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" gmt"),
    re.compile(
        rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>\d\d)-"
        + _MONTH
        + rb"-(?P<year>\d\d) "
        + _TIME
        + rb" gmt"
    ),
    re.compile(rb"(?:mon|tue|wed|thu|fri|sat|sun) " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})"),
)
"""IMF-fixdate, the form of RFC 850, and that of asctime; in lower case."""


def parse_http_date(value: bytes, now: float | None = None) -> float | None:
    """Seconds since the epoch, or None when it is no date.

    A year of two digits is the latest that is at most 50 years after `now` (RFC 9110 section 5.6.7); when that is not told, one from 1970 to 2069.
    """
    if len(value) > LONGEST_DATE_BYTES:
        return None
    return _parse(value, 2019 if now is None else datetime.fromtimestamp(now, UTC).year)


@lru_cache(maxsize=1024)
def _parse(value: bytes, this_year: int) -> float | None:
    text = value.strip(b" \t").lower()
    match = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if match is None:
        return None
    month = _MONTHS.get(match["month"], 0)
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += (this_year + 50 - year) // 100 * 100
    try:
        day = date(year, month, int(match["day"]))
    except ValueError:
        return None
    return float(timegm((day.year, day.month, day.day, hour, minute, second)))
