"""A whole distribution: every problem it has, or what nodes serve from. Reference 1.3; origins and behaviors have their own modules."""

from collections.abc import Iterator
from dataclasses import dataclass

from control_plane.compiler.behaviors import Policies, behavior_problems, compile_behavior, context_of
from control_plane.compiler.error_responses import compile_error_response, error_response_problems
from control_plane.compiler.field_check import field_problems, quantity_problems
from control_plane.compiler.fields import DISTRIBUTION_FIELDS
from control_plane.compiler.names import is_host_name, is_path_pattern
from control_plane.compiler.origin_groups import compile_origin_group, origin_group_problems
from control_plane.compiler.origins import compile_origin, origin_problems
from control_plane.compiler.problems import Config, Problem, invalid, items
from control_plane.compiler.restrictions import compile_geo_restriction, restriction_problems
from control_plane.compiler.semantics import Tags, is_strictly_invalidated, semantics_problems
from proto.cdn.v1 import configuration_pb2

MAXIMUM_ALIASES = 100
MAXIMUM_COMMENT_CHARACTERS = 128
MAXIMUM_ROOT_OBJECT_CHARACTERS = 255
MAXIMUM_CALLER_REFERENCE_CHARACTERS = 1_024
"""The service names no bound; this one keeps documents small."""

_ROOT = "DistributionConfig"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a distribution is called, from its creation on."""

    distribution_id: str
    domain_name: str


def compile_distribution(
    identity: Identity, config: Config, policies: Policies, tags: Tags
) -> configuration_pb2.Distribution | list[Problem]:
    """What nodes get, or everything that is wrong. The defaults of `config` are filled in; of `tags`, the reserved ones count."""
    problems = distribution_problems(config, policies, tags)
    if problems:
        return problems
    context = context_of(config, policies, tags)
    return configuration_pb2.Distribution(
        id=identity.distribution_id,
        domain_name=identity.domain_name,
        aliases=aliases_of(config),
        enabled=config["Enabled"],
        default_root_object=config["DefaultRootObject"],
        ipv6_enabled=config["IsIPV6Enabled"],
        origins=[compile_origin(origin) for origin in items(config["Origins"])],
        behaviors=[compile_behavior(behavior, context) for behavior in items(config["CacheBehaviors"])],
        default_behavior=compile_behavior(config["DefaultCacheBehavior"], context),
        origin_groups=[compile_origin_group(group) for group in items(config["OriginGroups"])],
        error_responses=[compile_error_response(response) for response in items(config["CustomErrorResponses"])],
        geo_restriction=compile_geo_restriction(config),
        strict_invalidation=is_strictly_invalidated(tags),
    )


def distribution_problems(config: Config, policies: Policies, tags: Tags) -> list[Problem]:
    """Everything that is wrong. What is not supported comes first: the rest may follow from it."""
    return [
        *field_problems(config, DISTRIBUTION_FIELDS, _ROOT),
        *quantity_problems(config, _ROOT),
        *_text_problems(config),
        *_alias_problems(config),
        *origin_problems(config, _ROOT),
        *origin_group_problems(config, _ROOT),
        *behavior_problems(config, context_of(config, policies, tags), _ROOT),
        *error_response_problems(config, _ROOT),
        *restriction_problems(config, _ROOT),
        *semantics_problems(tags, config),
    ]


def aliases_of(config: Config) -> list[str]:
    """Host names without case (reference 1.3)."""
    return [alias.lower() for alias in items(config["Aliases"])]


def _text_problems(config: Config) -> Iterator[Problem]:
    if not 0 < len(config["CallerReference"]) <= MAXIMUM_CALLER_REFERENCE_CHARACTERS:
        yield invalid(f"{_ROOT}.CallerReference", f"must have 1 to {MAXIMUM_CALLER_REFERENCE_CHARACTERS} characters")
    if len(config["Comment"]) > MAXIMUM_COMMENT_CHARACTERS:
        yield invalid(f"{_ROOT}.Comment", f"must have at most {MAXIMUM_COMMENT_CHARACTERS} characters")
    root_object = config["DefaultRootObject"]
    if root_object.startswith("/"):
        yield _root_object_problem("must not begin with /")
    if len(root_object) > MAXIMUM_ROOT_OBJECT_CHARACTERS:
        yield _root_object_problem(f"must have at most {MAXIMUM_ROOT_OBJECT_CHARACTERS} characters")
    if not is_path_pattern(root_object) or "?" in root_object:
        yield _root_object_problem("must be letters, digits and _-.*$/~\"'@:+&")


def _root_object_problem(message: str) -> Problem:
    return Problem("InvalidDefaultRootObject", f"{_ROOT}.DefaultRootObject {message}")


def _alias_problems(config: Config) -> Iterator[Problem]:
    aliases = aliases_of(config)
    if len(aliases) > MAXIMUM_ALIASES:
        yield Problem(
            "TooManyDistributionCNAMEs", f"{_ROOT}.Aliases must hold at most {MAXIMUM_ALIASES}, not {len(aliases)}"
        )
    if len(set(aliases)) != len(aliases):
        yield invalid(f"{_ROOT}.Aliases", "must not hold a name twice")
    for position, alias in enumerate(aliases):
        path = f"{_ROOT}.Aliases.Items[{position}]"
        if alias.startswith("*."):
            yield invalid(path, f"is not supported yet with the wildcard {alias[:64]}: list each name")
        elif not is_host_name(alias):
            yield invalid(path, f"must be a host name, not {alias[:64]!r}")
