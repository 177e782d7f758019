"""Cache behaviors: reference 1.6 and the quotas of 11."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from control_plane.compiler.cache_policies import unavailable_headers
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES, MANAGED_PREFIX
from control_plane.compiler.names import is_path_pattern
from control_plane.compiler.origin_groups import primaries_of
from control_plane.compiler.problems import Config, Problem, invalid, items
from control_plane.compiler.semantics import Tags, compile_semantics
from proto.cdn.v1 import configuration_pb2

MAXIMUM_BEHAVIORS = 75
MAXIMUM_PATTERN_CHARACTERS = 255

_READ = frozenset({"GET", "HEAD"})
_READ_AND_OPTIONS = _READ | {"OPTIONS"}
_ALL = _READ_AND_OPTIONS | {"POST", "PUT", "PATCH", "DELETE"}

_VIEWER_PROTOCOL_POLICIES = {
    "allow-all": configuration_pb2.VIEWER_PROTOCOL_POLICY_ALLOW_ALL,
    "https-only": configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY,
    "redirect-to-https": configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS,
}

Policies = Mapping[str, Config]
"""Cache policies by id, their defaults filled in."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the behaviors of a distribution refer to."""

    origin_ids: frozenset[str]
    primaries: Mapping[str, str]
    """The primary origin of each origin group, by the group's id."""
    policies: Policies
    tags: Tags


def context_of(config: Config, policies: Policies, tags: Tags) -> Context:
    """For the behaviors of this distribution."""
    origin_ids = frozenset(origin["Id"] for origin in items(config["Origins"]))
    return Context(origin_ids, primaries_of(config), policies, tags)


def behavior_problems(config: Config, context: Context, root: str) -> Iterator[Problem]:
    """Everything that is wrong with the behaviors of a distribution whose defaults are filled in."""
    yield from _one_behavior_problems(config["DefaultCacheBehavior"], context, f"{root}.DefaultCacheBehavior")
    behaviors = items(config["CacheBehaviors"])
    if len(behaviors) > MAXIMUM_BEHAVIORS:
        yield Problem(
            "TooManyCacheBehaviors",
            f"{root}.CacheBehaviors must hold at most {MAXIMUM_BEHAVIORS}, not {len(behaviors)}",
        )
    # A leading "/" makes no difference.
    if len({behavior["PathPattern"].removeprefix("/") for behavior in behaviors}) != len(behaviors):
        yield invalid(f"{root}.CacheBehaviors", "must not use one PathPattern twice")
    for position, behavior in enumerate(behaviors):
        path = f"{root}.CacheBehaviors.Items[{position}]"
        yield from _pattern_problems(behavior["PathPattern"], path)
        yield from _one_behavior_problems(behavior, context, path)


def compile_behavior(behavior: Config, context: Context) -> configuration_pb2.Behavior:
    """The behavior as nodes get it; it is without problems. The default one has no pattern of its own."""
    methods = behavior["AllowedMethods"]
    target = behavior["TargetOriginId"]
    pattern = behavior.get("PathPattern", "*")
    return configuration_pb2.Behavior(
        path_pattern=pattern,
        origin_id=context.primaries.get(target, target),
        origin_group_id=target if target in context.primaries else "",
        allowed_methods=items(methods),
        cached_methods=items(methods["CachedMethods"]),
        cache_policy_id=behavior["CachePolicyId"],
        compress=behavior["Compress"],
        semantics=compile_semantics(context.tags, pattern),
        viewer_protocol_policy=_VIEWER_PROTOCOL_POLICIES[behavior["ViewerProtocolPolicy"]],
    )


def cache_policy_ids(config: Config) -> set[str]:
    """The policies that a distribution refers to."""
    behaviors = [config["DefaultCacheBehavior"], *items(config.get("CacheBehaviors"))]
    return {behavior["CachePolicyId"] for behavior in behaviors if behavior.get("CachePolicyId")}


def _pattern_problems(pattern: str, path: str) -> Iterator[Problem]:
    if not 0 < len(pattern) <= MAXIMUM_PATTERN_CHARACTERS or not is_path_pattern(pattern):
        yield invalid(
            f"{path}.PathPattern",
            f"must have 1 to {MAXIMUM_PATTERN_CHARACTERS} letters, digits and _-.*?$/~\"'@:+&",
        )


def _one_behavior_problems(behavior: Config, context: Context, path: str) -> Iterator[Problem]:
    target = behavior["TargetOriginId"]
    if target not in context.origin_ids and target not in context.primaries:
        yield Problem(
            "NoSuchOrigin",
            f"{path}.TargetOriginId names {target[:64]!r}, which no origin and no origin group has as its Id",
        )
    if behavior["ViewerProtocolPolicy"] not in _VIEWER_PROTOCOL_POLICIES:
        yield invalid(f"{path}.ViewerProtocolPolicy", f"must be {', '.join(_VIEWER_PROTOCOL_POLICIES)}")
    yield from _method_problems(behavior["AllowedMethods"], f"{path}.AllowedMethods")
    if target in context.primaries and not _READ_AND_OPTIONS.issuperset(items(behavior["AllowedMethods"])):
        # They would never fail over (reference 1.5). The service's guide allows them; its API refuses them (aws-cdk issue 32450).
        yield invalid(
            f"{path}.AllowedMethods",
            "must be GET, HEAD or GET, HEAD, OPTIONS, because TargetOriginId is an origin group",
        )
    yield from _policy_problems(behavior, context.policies, f"{path}.CachePolicyId")


def _method_problems(methods: Config, path: str) -> Iterator[Problem]:
    allowed, cached = items(methods), items(methods["CachedMethods"])
    if len(set(allowed)) != len(allowed) or frozenset(allowed) not in (_READ, _READ_AND_OPTIONS, _ALL):
        yield invalid(path, "must be GET, HEAD; or GET, HEAD, OPTIONS; or all seven methods")
    if len(set(cached)) != len(cached) or frozenset(cached) not in (_READ, _READ_AND_OPTIONS):
        yield invalid(f"{path}.CachedMethods", "must be GET, HEAD; or GET, HEAD, OPTIONS")
    if not set(cached) <= set(allowed):
        yield invalid(f"{path}.CachedMethods", "must not hold a method that is not allowed")


def _policy_problems(behavior: Config, policies: Policies, path: str) -> Iterator[Problem]:
    policy_id = behavior.get("CachePolicyId")
    if not policy_id:
        example = "658327ea-f89d-4fab-a63d-7e88639e58f6 (CachingOptimized)"
        yield invalid(path, f"is required, for example {example}")
    elif policy_id not in policies:
        yield Problem("NoSuchCachePolicy", f"{path} names {policy_id[:64]!r}, {_why_not_there(policy_id)}")
    elif headers := unavailable_headers(policies[policy_id]):
        yield invalid(
            path,
            f"is not supported yet with {policies[policy_id]['Name']}: "
            f"its cache key has {', '.join(headers)}, which edges do not add in this version",
        )


def _why_not_there(policy_id: str) -> str:
    """Guides speak of managed policies by name, with or without the prefix; the API takes ids."""
    for identifier, policy in MANAGED_CACHE_POLICIES.items():
        if policy_id in (policy["Name"], policy["Name"].removeprefix(MANAGED_PREFIX)):
            return f"which is a name; its id is {identifier}"
    return "which does not exist; ListCachePolicies has those that do"
