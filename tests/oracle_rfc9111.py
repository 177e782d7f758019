"""An oracle for caches: may this stored response be used for this request now? Written straight from the text of RFC 9111, slowly, for judging and not for use.

It shares nothing with the product: its own values (text, not bytes), its own parsers, no memory, no shortcuts. Each rule is one `if` beside the sentence it stands for.
It answers with the list of sentences that the reuse would break; an empty list means that the RFC does not forbid it.

    forbidden(stored, asked, now, is_disconnected=False) -> list[str]      for a shared cache that reuses `stored` without validation
    unwanted(stored, asked, now) -> list[str]                               the request directives, which are advisory (section 5.2.1)
    plainly_reusable(stored, asked, now) -> bool                            fresh beyond doubt, and nothing restricts it: a cache that does not reuse it is no use
    validated(stored, not_modified) -> Stored                               the stored response after a 304 (sections 4.3.4 and 3.2)

A test that drives a whole cache keeps a `Stored` for each response that it let the origin give, and asks `forbidden` for the one whose content the viewer got.
Also from RFC 9213 (CDN-Cache-Control), RFC 5861 (stale windows) and RFC 6585 (statuses that must not be stored).
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """A request."""

    method: str
    target: str
    fields: Fields = ()


@dataclass(frozen=True)
class Stored:
    """A response, the request that it answered, and the cache's clock at both ends of the exchange; seconds since the epoch."""

    request: Request
    status: int
    fields: Fields
    request_time: float
    response_time: float


# -- fields (RFC 9110 section 5)


def values(fields: Fields, name: str) -> list[str]:
    return [value.strip(" \t") for field, value in fields if field.lower() == name]


def value_of(fields: Fields, name: str) -> str | None:
    """Section 5.3: field lines of one name are one value."""
    found = values(fields, name)
    return ", ".join(found) if found else None


TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[^"\\]|\\.)*"'
DIRECTIVE = re.compile(rf"({TOKEN})(?:=({TOKEN}|{QUOTED}))?")
MALFORMED = "(malformed)"
"""No token: neither a number nor the name of a field."""


def directives(field: str | None) -> list[tuple[str, str | None]]:
    """`1#cache-directive`, with names in lower case and arguments unquoted. What does not fit the grammar keeps its name, and has the argument MALFORMED."""
    if field is None:
        return []
    parts = re.findall(rf'(?:{QUOTED}|[^,"])+', field) if not re.sub(QUOTED, "", field).count('"') else field.split(",")
    found: list[tuple[str, str | None]] = []
    for part in (part.strip(" \t") for part in parts):
        match = DIRECTIVE.fullmatch(part)
        if match is None:
            name = part.partition("=")[0].strip(" \t").lower()
            found.append((name, MALFORMED if "=" in part else None))
        else:
            argument = match[2]
            if argument is not None and argument.startswith('"'):
                argument = re.sub(r"\\(.)", r"\1", argument[1:-1])
            found.append((match[1].lower(), argument))
    return found


SF_KEY = r"[a-z*][a-z0-9_.*-]*"
SF_ITEM = r'(?:-?\d{1,12}\.\d{1,3}(?![\d.])|-?\d{1,15}(?![\d.])|"(?:[ !#-\[\]-~]|\\["\\])*"|[A-Za-z*][!#$%&\'*+.^_`|~0-9A-Za-z:/-]*|\?[01])'
SF_PARAMETERS = rf"(?:; *{SF_KEY}(?:={SF_ITEM})?)*"
SF_MEMBER = re.compile(rf"({SF_KEY})(?:=({SF_ITEM}))?{SF_PARAMETERS}")


def targeted_directives(field: str | None) -> list[tuple[str, str | None]] | None:
    """RFC 9213 section 2.1: a dictionary (RFC 9651; without the types that no directive has). None: no valid, non-empty value."""
    members: dict[str, str | None] = {}
    rest = (field or "").strip(" ")
    while rest:
        match = SF_MEMBER.match(rest)
        if match is None:
            return None
        members[match[1]] = match[2]
        rest = rest[match.end() :].lstrip(" \t")
        if rest and not re.match(r",[ \t]*[^ \t]", rest):
            return None
        rest = rest[1:].lstrip(" \t")
    return list(members.items()) or None


@dataclass(frozen=True)
class Policy:
    """The response directives that hold, whichever field they came from."""

    found: tuple[tuple[str, str | None], ...]
    is_targeted: bool

    def has(self, name: str) -> bool:
        """Present, in whatever form: for directives that restrict."""
        if self.is_targeted:  # a flag is the boolean true; other types are not consumed
            return any(directive == name and argument in (None, "?1") for directive, argument in self.found)
        return any(directive == name for directive, _ in self.found)

    def qualified(self, name: str) -> list[str] | None:
        """Field names of no-cache="..." or private="..."; None: the directive is there without any, or not in a form that can be read."""
        names: list[str] = []
        for directive, argument in self.found:
            if directive == name:
                if argument is None or (self.is_targeted and argument == "?1"):
                    return None
                text = argument.strip('"') if self.is_targeted else argument
                listed = [part.strip(" \t").lower() for part in text.split(",") if part.strip(" \t")]
                if not listed or not all(re.fullmatch(TOKEN, part) for part in listed):
                    return None
                names += listed
        return names

    def is_unqualified(self, name: str) -> bool:
        if self.is_targeted and any(d == name and a is not None and a[0] not in '"?' for d, a in self.found):
            return False  # a token or a number: of the wrong type
        if self.is_targeted and any(d == name and a == "?0" for d, a in self.found):
            return False
        return any(directive == name for directive, _ in self.found) and self.qualified(name) is None

    def seconds(self, name: str) -> float | None:
        """Section 1.2.2; the first of several (section 4.2.1); what is no number of seconds is 0, so that the response is stale (section 4.2.1)."""
        for directive, argument in self.found:
            if directive == name:
                is_number = argument is not None and re.fullmatch(r"[0-9]+", argument)
                return min(float(argument), 2.0**40) if is_number and argument is not None else 0.0
        return None


def policy_of(stored: Stored) -> Policy:
    targeted = targeted_directives(value_of(stored.fields, "cdn-cache-control"))
    if targeted is not None:  # RFC 9213 section 2.2: ... MUST ignore the Cache-Control and Expires header fields
        return Policy(tuple(targeted), True)
    field = value_of(stored.fields, "cache-control")
    found = directives(field)
    if field is not None and re.sub(QUOTED, "", field).count('"'):  # no list at all: no argument in it is valid
        found = [(name, argument and MALFORMED) for name, argument in found]
    return Policy(tuple(found), False)


# -- dates (RFC 9110 section 5.6.7)

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def date(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    text = text.lower()
    fixed = re.fullmatch(r"(?:mon|tue|wed|thu|fri|sat|sun), (\d\d) ([a-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) gmt", text)
    old = re.fullmatch(
        r"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (\d\d)-([a-z]{3})-(\d\d) (\d\d):(\d\d):(\d\d) gmt", text
    )
    c = re.fullmatch(r"(?:mon|tue|wed|thu|fri|sat|sun) ([a-z]{3}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})", text)
    if fixed:
        day, month, year, hour, minute, second = fixed.groups()
    elif old:
        day, month, year, hour, minute, second = old.groups()
    elif c:
        month, day, hour, minute, second, year = c.groups()
    else:
        return None
    number = int(year)
    if old:  # more than 50 years in the future: the most recent year in the past with the same two digits
        this_year = datetime.fromtimestamp(now, UTC).year
        number += this_year // 100 * 100
        number = number - 100 if number > this_year + 50 else number + 100 if number + 100 <= this_year + 50 else number
    try:
        return datetime(
            number, MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC
        ).timestamp()
    except ValueError:
        return None


# -- section 3: storing

HEURISTICALLY_CACHEABLE = (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501)  # RFC 9110 section 15.1
STATUSES_OF_RFC_9110 = (
    200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 305, 307, 308,
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505,
)  # fmt: skip


def must_not_be_stored(stored: Stored) -> list[str]:
    broken: list[str] = []
    policy = policy_of(stored)
    request_says = directives(value_of(stored.request.fields, "cache-control"))
    if stored.request.method not in ("GET", "HEAD"):
        broken.append("3: the request method is not understood by the cache")
    if not 200 <= stored.status <= 599:
        broken.append("3: the status code is not final")
    if stored.status in (206, 304):
        broken.append("3: a 206 or 304 is not a response of its own to this cache")
    if policy.has("must-understand") and stored.status not in STATUSES_OF_RFC_9110:
        broken.append("3: must-understand is present and the status code is not understood")
    if policy.has("no-store") and not policy.has("must-understand"):
        broken.append("3, 5.2.2.5: the no-store directive is present")
    if policy.is_unqualified("private"):
        broken.append("3, 5.2.2.7: the private directive is present")
    if values(stored.request.fields, "authorization") and not (
        policy.has("must-revalidate") or policy.has("public") or policy.seconds("s-maxage") is not None
    ):
        broken.append("3.5: the request has Authorization, and nothing allows shared caching")
    if not (
        policy.has("public")
        or (values(stored.fields, "expires") and not policy.is_targeted)
        or policy.seconds("max-age") is not None
        or policy.seconds("s-maxage") is not None
        or stored.status in HEURISTICALLY_CACHEABLE
    ):
        broken.append(
            "3: the response contains none of public, Expires, max-age, s-maxage, and its status is not heuristically cacheable"
        )
    if any(name == "no-store" for name, _ in request_says):
        broken.append("5.2.1.5: the request says no-store")
    if stored.status in (428, 429, 431, 511):
        broken.append("RFC 6585: responses with this status code MUST NOT be stored by a cache")
    return broken


# -- section 4.2: freshness


def freshness_lifetime(stored: Stored) -> float:
    """Section 4.2.1. Where there is only a guess (section 4.2.2), at most a tenth of the time since Last-Modified (dates have whole seconds), and at most a day."""
    policy = policy_of(stored)
    for name in ("s-maxage", "max-age"):
        said = policy.seconds(name)
        if said is not None:
            return said
    made = date(value_of(stored.fields, "date"), stored.response_time)
    made = stored.response_time if made is None else made
    expires = value_of(stored.fields, "expires")
    if expires is not None and not policy.is_targeted:
        moment = date(expires, stored.response_time)
        return (
            0.0 if moment is None else max(0.0, moment - made)
        )  # section 5.3; a lifetime is no less than none (section 1.2.2)
    modified = date(value_of(stored.fields, "last-modified"), stored.response_time)
    if modified is None or not (policy.has("public") or stored.status in HEURISTICALLY_CACHEABLE):
        return 0.0
    return max(0.0, min(0.1 * (made - modified + 1.0), 86_400.0))


def current_age(stored: Stored, now: float) -> float:
    """Section 4.2.3, the more conservative calculation."""
    said = value_of(stored.fields, "age")
    first = None if said is None else said.split(",")[0].strip(" \t")
    age_value = min(float(first), 2.0**40) if first is not None and re.fullmatch(r"[0-9]+", first) else 0.0
    made = date(value_of(stored.fields, "date"), stored.response_time)
    apparent_age = 0.0 if made is None else max(0.0, stored.response_time - made)
    response_delay = stored.response_time - stored.request_time
    corrected_age_value = age_value + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = now - stored.response_time
    return corrected_initial_age + resident_time


def is_fresh(stored: Stored, now: float) -> bool:
    return freshness_lifetime(stored) > current_age(stored, now)


# -- section 4.1: Vary

LISTS_OF_PREFERENCES = ("accept", "accept-charset", "accept-encoding", "accept-language")
NO_LISTS = ("authorization", "cookie", "host", "referer", "user-agent")


def selecting_value(name: str, fields: Fields) -> object:
    """A form that is equal for two values exactly if one can be transformed into the other by what section 4.1 allows."""
    value = value_of(fields, name)
    if value is None or name in NO_LISTS:
        return value
    members = [part.strip(" \t") for part in value.split(",")] if '"' not in value else [value]
    if name not in LISTS_OF_PREFERENCES:
        return tuple(members)
    ranked = set()
    for member in members:
        if member:
            words = [word.strip(" \t").lower() for word in member.split(";")]
            weights = [word[2:] for word in words[1:] if word.startswith("q=")]
            if any(not re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", weight) for weight in weights):
                return tuple(members)
            ranked.add(
                (tuple(word for word in words if not word.startswith("q=")), float(weights[0]) if weights else 1.0)
            )
    return frozenset(ranked)


def selects(stored: Stored, asked: Request) -> bool:
    vary = value_of(stored.fields, "vary")
    names = [part.strip(" \t").lower() for part in (vary or "").split(",") if part.strip(" \t")]
    return "*" not in names and all(
        selecting_value(name, stored.request.fields) == selecting_value(name, asked.fields) for name in names
    )


# -- section 4: may it be used?


def forbidden(stored: Stored, asked: Request, now: float, *, is_disconnected: bool = False) -> list[str]:
    """The sentences that using the stored response without validation would break."""
    broken = must_not_be_stored(stored)
    policy = policy_of(stored)
    if asked.target != stored.request.target:
        broken.append("4: the target URIs do not match")
    if not (asked.method == stored.request.method or (asked.method == "HEAD" and stored.request.method == "GET")):
        broken.append("4: the request method does not allow it")
    if not selects(stored, asked):
        broken.append("4.1: request fields nominated by Vary do not match")
    if policy.is_unqualified("no-cache"):
        broken.append("4, 5.2.2.4: no-cache is present")
    if not is_fresh(stored, now):
        broken += _stale_is_forbidden(policy, stored, asked, now, is_disconnected=is_disconnected)
    return broken


def _stale_is_forbidden(
    policy: Policy, stored: Stored, asked: Request, now: float, *, is_disconnected: bool
) -> list[str]:
    """Section 4.2.4."""
    for name in ("must-revalidate", "proxy-revalidate"):
        if policy.has(name):
            return [f"4.2.4, 5.2.2: stale, and {name} is present"]
    if policy.seconds("s-maxage") is not None:
        return ["4.2.4, 5.2.2.10: stale, and s-maxage is present"]
    staleness = current_age(stored, now) - freshness_lifetime(stored)
    while_revalidate = policy.seconds("stale-while-revalidate") or 0.0
    if staleness < while_revalidate:  # RFC 5861 section 3
        return []
    for name, argument in directives(value_of(asked.fields, "cache-control")):  # permitted by the client
        if name == "max-stale" and (
            argument is None or (re.fullmatch("[0-9]+", argument) and staleness <= float(argument))
        ):
            return []
        if (
            is_disconnected
            and name == "stale-if-error"
            and re.fullmatch("[0-9]+", argument or "")
            and staleness < float(argument or 0)
        ):
            return []
    if is_disconnected:
        if_error = policy.seconds("stale-if-error")
        return [] if if_error is None or staleness < if_error else ["RFC 5861 4: staler than stale-if-error says"]
    return ["4.2.4: stale, not disconnected, and nobody permits it"]


def unwanted(stored: Stored, asked: Request, now: float) -> list[str]:
    """Section 5.2.1: what the request prefers. Advisory; a strict cache follows it."""
    wishes: list[str] = []
    age, lifetime = current_age(stored, now), freshness_lifetime(stored)
    found = directives(value_of(asked.fields, "cache-control"))
    names = [name for name, _ in found]
    takes_stale = any(name == "max-stale" and re.fullmatch("[0-9]+", argument or "0") for name, argument in found)
    if not values(asked.fields, "cache-control") and "no-cache" in (value_of(asked.fields, "pragma") or "").lower():
        wishes.append("5.4: Pragma: no-cache")
    if "no-cache" in names:
        wishes.append("5.2.1.4: no-cache")
    is_immutable = policy_of(stored).has("immutable") and lifetime > age  # RFC 8246 section 2.1
    for name, argument in found:
        seconds = float(argument) if argument is not None and re.fullmatch("[0-9]+", argument) else None
        if name == "max-age" and age > (seconds or 0.0) and not is_immutable:
            wishes.append("5.2.1.1: older than max-age")
        if name == "max-age" and lifetime <= age and not takes_stale:
            wishes.append("5.2.1.1: max-age, and stale without max-stale")
        if name == "min-fresh" and seconds is not None and lifetime < age + seconds:
            wishes.append("5.2.1.3: not fresh for long enough")
        if name == "max-stale" and seconds is not None and lifetime + seconds < age:
            wishes.append("5.2.1.2: staler than max-stale")
    return wishes


def validated(stored: Stored, not_modified: Stored) -> Stored:
    """Sections 4.3.4 and 3.2: the fields of the 304 replace those of the same name; its exchange is the one that age counts from."""
    kept = ("content-length", "content-encoding", "content-range", "connection", "transfer-encoding")
    new = tuple(pair for pair in not_modified.fields if pair[0].lower() not in kept)
    names = {name.lower() for name, _ in new} | {"age"}
    fields = tuple(pair for pair in stored.fields if pair[0].lower() not in names) + new
    if not values(not_modified.fields, "date"):  # RFC 9110 section 6.6.1: the recipient records the time of receipt
        fields = tuple(pair for pair in fields if pair[0].lower() != "date")
    return replace(
        stored, fields=fields, request_time=not_modified.request_time, response_time=not_modified.response_time
    )


PLAIN_DIRECTIVES = re.compile(r"(?:public, )?max-age=[0-9]{1,9}(?:, (?:immutable|no-transform))?")


def plainly_reusable(stored: Stored, asked: Request, now: float) -> bool:
    """An explicit lifetime that is not over, in the plainest form, and neither response nor request nor Vary says anything else."""
    return (
        stored.request.method == "GET"
        and asked.method in ("GET", "HEAD")
        and asked.target == stored.request.target
        and stored.status in (200, 203, 204, 300, 301, 302, 307, 308, 404, 410)
        and bool(PLAIN_DIRECTIVES.fullmatch(value_of(stored.fields, "cache-control") or ""))
        and not values(stored.fields, "cdn-cache-control")
        and (value_of(stored.fields, "vary") or "") in ("", "X-A", "Accept-Language")
        and selects(stored, asked)
        and not any(
            values(fields, name)
            for fields in (stored.request.fields, asked.fields)
            for name in ("cache-control", "pragma", "authorization")
        )
        and is_fresh(stored, now)
    )
