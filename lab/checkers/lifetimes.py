"""How long an answer may be reused after it was made: its Cache-Control and the cache policy (reference 2.2, 2.3; docs/semantics.md). Pure.

Written apart from the edge node's own rules, since histories judge those. `Expires` is not in a history: an answer without a lifetime in Cache-Control has the
default TTL.
"""

from dataclasses import dataclass

LONGEST_SECONDS = 100 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """The three TTLs of a cache policy, in seconds."""

    minimum: float
    default: float
    maximum: float

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.default <= self.maximum:
            raise ValueError(
                f"TTLs {self.minimum:g}, {self.default:g}, {self.maximum:g} are not in order from 0: minimum, default, maximum"
            )


@dataclass(frozen=True, slots=True)
class Allowed:
    """The greatest age in seconds that an answer may have."""

    usual: float
    """While upstream answers: its lifetime, and then stale-while-revalidate."""
    on_error: float
    """When upstream fails."""


def allowed_age(cache_control: str | None, policy: Policy) -> Allowed:
    """Of an answer with this field."""
    directives = directives_of(cache_control)
    forbids_reuse = any(directives.get(each, "x") is None for each in ("no-store", "no-cache", "private"))
    lifetime = policy.minimum if forbids_reuse else _lifetime(directives, policy)
    if (forbids_reuse and policy.minimum == 0) or {"must-revalidate", "proxy-revalidate"} & directives.keys():
        return Allowed(lifetime, lifetime)
    while_revalidating = min(_seconds(directives.get("stale-while-revalidate", "0")), policy.maximum)
    on_error = min(_seconds(directives["stale-if-error"]), policy.maximum) if "stale-if-error" in directives else None
    if on_error is None:  # docs/caching.md: as long as the maximum TTL after it expired
        on_error = policy.maximum
    return Allowed(lifetime + while_revalidating, lifetime + max(on_error, while_revalidating))


def is_for_one(cache_control: str | None) -> bool:
    """Whether it says of the whole answer that it is private, or must not be stored."""
    return any(item.strip().lower() in ("no-store", "private") for item in _items(cache_control or ""))


def directives_of(cache_control: str | None) -> dict[str, str | None]:
    """By lower-case names; of several with one name the first. None: it has no argument."""
    directives: dict[str, str | None] = {}
    for item in _items(cache_control or ""):
        name, equals, argument = item.partition("=")
        if name.strip():
            directives.setdefault(name.strip().lower(), argument.strip().strip('"') if equals else None)
    return directives


def _items(text: str) -> list[str]:
    """Between commas that are not in quotation marks."""
    items, quoted = [""], False
    for character in text:
        quoted ^= character == '"'
        if character == "," and not quoted:
            items.append("")
        else:
            items[-1] += character
    return items


def _lifetime(directives: dict[str, str | None], policy: Policy) -> float:
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return max(policy.minimum, min(_seconds(directives[name]), policy.maximum))
    return max(policy.minimum, policy.default)


def _seconds(argument: str | None) -> float:
    """0 for what is malformed, negative or no whole number."""
    text = argument or ""
    return float(min(int(text), LONGEST_SECONDS)) if text.isascii() and text.isdigit() and len(text) < 20 else 0.0
