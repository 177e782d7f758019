"""From what a request asks for to its cache key and the lifetime of the answer: the cache policies of a distribution, and what the origin says. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.freshness_cloudfront import ERROR_CACHING_MINIMUM_TTL_SECONDS, metadata_by_table
from edge_node.caching.key import KeyParts, make_key, select_query
from edge_node.model.configuration import CachePolicy, Selection, SelectionMode
from edge_node.model.http import ResponseHead

DAY_SECONDS = 86_400
YEAR_SECONDS = 31_536_000
EXAMPLE_DISTRIBUTION = "E1EXAMPLE00000"
"""As long as the ids that a lab hands out: a part of each key."""
_NO_PARTS = KeyParts(None, (), ())
_NOTHING = Selection(SelectionMode.NONE)


def policy_of(
    minimum: int, default: int, maximum: int, *, has_queries: bool, cookies: tuple[bytes, ...] = ()
) -> CachePolicy:
    """TTLs in seconds. Viewers of the lab ask for no coding, so none is keyed."""
    queries = Selection(SelectionMode.ALL) if has_queries else _NOTHING
    keyed = Selection(SelectionMode.LIST, cookies) if cookies else _NOTHING
    name = f"{minimum}/{default}/{maximum}/{has_queries}/{cookies}"
    return CachePolicy(name, minimum, default, maximum, False, False, _NOTHING, keyed, queries)


@dataclass(frozen=True, slots=True)
class Rule:
    """A behavior: which paths, and the cache policy."""

    path_pattern: str
    """As CloudFront has it: `*` and `?`."""
    policy: CachePolicy

    @property
    def regex(self) -> re.Pattern[str]:
        """Of paths without their query."""
        return _regex(self.path_pattern)


@lru_cache(maxsize=256)
def _regex(path_pattern: str) -> re.Pattern[str]:
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in path_pattern)
    return re.compile("".join(parts), re.DOTALL)


@dataclass(frozen=True, slots=True)
class CachingRules:
    """What one distribution says of caching. The last rule is the default behavior, and holds for all paths."""

    rules: Sequence[Rule]
    distribution_id: str = EXAMPLE_DISTRIBUTION

    def policy_for(self, target: str) -> CachePolicy:
        """Of the first behavior that matches."""
        if len(self.rules) > 1:
            path = target.partition("?")[0]
            for rule in self.rules[:-1]:
                if rule.regex.fullmatch(path):
                    return rule.policy
        return self.rules[-1].policy


RULES_OF_TRACES = CachingRules((Rule("*", policy_of(0, DAY_SECONDS, YEAR_SECONDS, has_queries=True)),))
"""Requests with the same target are for one object, says a trace, so the query is a part of the key; the origin decides on lifetimes."""

RULES_OF_PROFILES = CachingRules(
    (
        Rule("/api/*", policy_of(0, 0, 3_600, has_queries=True, cookies=(b"session",))),
        Rule("*", policy_of(1, DAY_SECONDS, YEAR_SECONDS, has_queries=False)),
    )
)
"""The distribution that `cdnlab load` sends viewers to: lab/scenarios/files/quickstart.yaml. Its first behavior keys identities too; answers that depend on one are
never stored, so it makes no difference here."""


def keyed_target(target: str, policy: CachePolicy) -> str:
    """Path and query as they are keyed and reach the origin."""
    path, has_query, query = target.partition("?")
    if not has_query:
        return path
    kept = select_query(query.encode("latin-1", "replace"), policy.query_strings).decode("latin-1")
    return f"{path}?{kept}" if kept else path


def key_of(distribution_id: str, target: str) -> bytes:
    """Of a GET or HEAD with this keyed target."""
    return make_key(distribution_id, b"", target.encode("latin-1", "replace"), _NO_PARTS)


@lru_cache(maxsize=4_096)
def metadata_of(cache_control: str | None, policy: CachePolicy) -> CacheMetadata:
    """For how long a 200 with this Cache-Control (None: without one) may be reused, and how."""
    fields = {} if cache_control is None else {b"cache-control": cache_control.encode("latin-1", "replace")}
    head = ResponseHead(200, b"OK", (), None, fields)
    return metadata_by_table(head, policy, ERROR_CACHING_MINIMUM_TTL_SECONDS, 0.0)
