"""Origin groups: reference 1.5 and the quotas of 11. Where a behavior may send its requests is an origin or a group; both are found by id here."""

from collections.abc import Iterator, Mapping, Sequence

from control_plane.compiler.origins import MAXIMUM_ID_CHARACTERS
from control_plane.compiler.problems import Config, Problem, invalid, items
from proto.cdn.v1 import configuration_pb2

MAXIMUM_ORIGIN_GROUPS = 10

FAILOVER_STATUSES = (400, 403, 404, 416, 429, 500, 502, 503, 504)


def origin_group_problems(config: Config, root: str) -> Iterator[Problem]:
    """Everything that is wrong with the origin groups of a distribution whose defaults are filled in."""
    groups = items(config["OriginGroups"])
    if len(groups) > MAXIMUM_ORIGIN_GROUPS:
        yield Problem(
            "TooManyOriginGroupsPerDistribution",
            f"{root}.OriginGroups must hold at most {MAXIMUM_ORIGIN_GROUPS}, not {len(groups)}",
        )
    origin_ids = {origin["Id"] for origin in items(config["Origins"])}
    group_ids = [group["Id"] for group in groups]
    if len(set(group_ids)) != len(group_ids) or origin_ids & {*group_ids}:
        yield invalid(f"{root}.OriginGroups", "must not use one Id twice, nor that of an origin")
    for position, group in enumerate(groups):
        path = f"{root}.OriginGroups.Items[{position}]"
        if not 0 < len(group["Id"]) <= MAXIMUM_ID_CHARACTERS:
            yield invalid(f"{path}.Id", f"must have 1 to {MAXIMUM_ID_CHARACTERS} characters")
        yield from _member_problems(group, origin_ids, f"{path}.Members")
        yield from _criteria_problems(group, f"{path}.FailoverCriteria.StatusCodes")


def compile_origin_group(group: Config) -> configuration_pb2.OriginGroup:
    """The group as nodes get it; it is without problems. The first member is the primary."""
    primary, secondary = _member_ids(group)
    return configuration_pb2.OriginGroup(
        id=group["Id"],
        primary_origin_id=primary,
        secondary_origin_id=secondary,
        failover_statuses=sorted(items(group["FailoverCriteria"]["StatusCodes"])),
    )


def primaries_of(config: Config) -> Mapping[str, str]:
    """The primary origin of every group that has one, by the group's id."""
    return {group["Id"]: members[0] for group in items(config["OriginGroups"]) if (members := _member_ids(group))}


def _member_ids(group: Config) -> Sequence[str]:
    return [member["OriginId"] for member in items(group["Members"])]


def _member_problems(group: Config, origin_ids: set[str], path: str) -> Iterator[Problem]:
    members = _member_ids(group)
    if len(members) != 2 or members[0] == members[1]:
        yield invalid(path, "must be two different origins, the primary first")
    for position, origin_id in enumerate(members):
        if origin_id not in origin_ids:
            yield Problem(
                "NoSuchOrigin",
                f"{path}.Items[{position}].OriginId names {origin_id[:64]!r}, which no origin has as its Id",
            )


def _criteria_problems(group: Config, path: str) -> Iterator[Problem]:
    statuses = items(group["FailoverCriteria"]["StatusCodes"])
    allowed = ", ".join(map(str, FAILOVER_STATUSES))
    if not statuses or len(set(statuses)) != len(statuses) or not {*statuses} <= {*FAILOVER_STATUSES}:
        yield invalid(path, f"must be one or more of {allowed}, each once")
