"""How a scenario writes a distribution: the short form of site.py, key by key. Pure."""

from typing import Any

import yaml

from lab.clients.management_api import CACHING_OPTIMIZED
from lab.scenarios.site import CACHING_DISABLED, FAILOVER_STATUSES, Behavior, CacheRule, Failover, Site, Timeouts
from lab.scenarios.values import duration, integers, plain_mapping, words
from lab.topology.sections import Section

_MANAGED = {"optimized": CACHING_OPTIMIZED, "disabled": CACHING_DISABLED}
_LONGEST_TTL = 10 * 365 * 86_400


def read_site(section: Section) -> Site:
    """One of `distributions`."""
    name = section.text("name")
    return Site(
        name=name,
        origin=section.text("origin"),
        cache=_cache(section, name),
        behaviors=section.sections("behaviors", lambda each: _behavior(each, name)),
        failover=_failover(section),
        timeouts=_timeouts(section),
        error_caching_seconds=_error_caching(section),
        default_root_object=section.text("default_root_object", "index.html"),
        semantics=section.choice("semantics", "cloudfront", ("cloudfront", "rfc9111")),
        is_strict=section.flag("strict_invalidation", False),
        config=plain_mapping(section, "config"),
    )


def _behavior(section: Section, site: str) -> Behavior:
    pattern = section.text("path")
    return Behavior(pattern, _cache(section, f"{site} {pattern}"))


def _cache(section: Section, name: str) -> CacheRule:
    """`optimized`, `disabled`, or a policy of its own."""
    node = section.values.get("cache")
    if node is None or isinstance(node, yaml.ScalarNode):
        return CacheRule(_MANAGED[section.choice("cache", "optimized", tuple(_MANAGED))])
    rule = section.section("cache")
    assert rule is not None
    made = CacheRule(
        name=name,
        min_ttl_seconds=_ttl(rule, "min_ttl", 0),
        default_ttl_seconds=_ttl(rule, "default_ttl", 86_400),
        max_ttl_seconds=_ttl(rule, "max_ttl", 31_536_000),
        query_strings=rule.flag("query_strings", False),
        cookies=words(rule, "cookies"),
        headers=words(rule, "headers"),
    )
    rule.finish()
    return made


def _ttl(rule: Section, key: str, default: int) -> int:
    seconds = duration(rule, key, float(default)) or 0.0
    if seconds > _LONGEST_TTL or seconds != int(seconds):
        rule.report(f"{key} must be whole seconds, at most ten years", rule.values[key])
    return int(seconds)


def _failover(section: Section) -> Failover | None:
    part = section.section("failover")
    if part is None:
        return None
    statuses = integers(part, "statuses") or FAILOVER_STATUSES
    wrong = [status for status in statuses if status not in FAILOVER_STATUSES]
    if wrong:
        part.report(f"statuses may be {', '.join(map(str, FAILOVER_STATUSES))}, not {wrong[0]}")
    failover = Failover(part.text("to"), statuses)
    part.finish()
    return failover


def _timeouts(section: Section) -> Timeouts:
    part = section.section("timeouts")
    if part is None:
        return Timeouts()
    timeouts = Timeouts(
        connect_seconds=_whole_seconds(part, "connect", 10, 10),
        attempts=part.integer("attempts", 3, 1, 3),
        response_seconds=_whole_seconds(part, "response", 30, 120),
    )
    part.finish()
    return timeouts


def _whole_seconds(part: Section, key: str, default: int, most: int) -> int:
    """As the service takes them: it knows no parts of a second."""
    seconds = duration(part, key, float(default))
    if seconds is None or not 1 <= seconds <= most or seconds != int(seconds):
        part.report(f"{key} must be whole seconds, 1 to {most}", part.values[key])
        return default
    return int(seconds)


def _error_caching(section: Section) -> dict[int, int]:
    """Status: how long an answer with it is kept."""
    given: dict[str, Any] = {str(status): kept for status, kept in _statuses(section).items()}
    found = {}
    for status, seconds in given.items():
        if status.isdigit() and isinstance(seconds, int) and 0 <= seconds <= _LONGEST_TTL:
            found[int(status)] = seconds
        else:
            section.report("error_caching must be `STATUS: SECONDS` pairs", section.values["error_caching"])
    return found


def _statuses(section: Section) -> dict[Any, Any]:
    """Keys of YAML may be numbers."""
    part = section.section("error_caching")
    if part is None:
        return {}
    return {name: part.integer(name, 0, 0, _LONGEST_TTL) for name in part.values}
