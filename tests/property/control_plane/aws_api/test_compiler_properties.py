"""Configurations of any shape that the model allows: each is compiled or refused with a client's error, and what is accepted is accepted with nothing ignored."""

from typing import Any
from urllib.parse import unquote

from botocore.model import ListShape, Shape, StructureShape
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.aws_api.errors import ApiError, statuses_by_code
from control_plane.aws_api.model import load_model
from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.fields import DISTRIBUTION_FIELDS, Honoured, Only, Refused, WithoutEffect
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import items
from control_plane.compiler.semantics import semantics_key
from control_plane.compiler.tags import tag_problems
from edge_node.model.configuration import Semantics
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import (
    CACHING_OPTIMIZED,
    WireApi,
    behavior,
    custom_origin,
    distribution_config,
    origin_group,
    quantified,
)
from tests.builders import read_distribution
from tests.depth import examples

RFC9111 = Semantics.RFC9111

MODEL = load_model()
STATUSES = statuses_by_code(MODEL)
SHAPE = MODEL.shape_for("DistributionConfig")

WORDS = st.sampled_from(
    [
        "",
        "web",
        "other",
        "pair",
        "200",
        "/a",
        "a*",
        "/",
        "*",
        "localhost",
        "a.test",
        "*.test",
        "http://x",
        "é",
        "x\r\ny",
        "None",
        CACHING_OPTIMIZED,
    ]
) | st.text(max_size=5).filter(lambda text: all(c in "\t\n\r" or " " <= c < "\ud800" for c in text))
NUMBERS = st.integers(-1, 4) | st.sampled_from([30, 80, 404, 443, 503, 8080, 65535, 65536, 2**31 - 1, -(2**31)])


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Anything that the codec could hand over: right types, required members, known enumerations."""
    if isinstance(shape, StructureShape):
        required = {name: values(shape.members[name], depth + 1) for name in shape.required_members}
        optional = {
            name: values(member, depth + 1)
            for name, member in shape.members.items()
            if name not in required and depth < 4
        }
        return st.fixed_dictionaries(required, optional=optional)
    if isinstance(shape, ListShape):
        least = shape.metadata.get("min", 0)
        return st.lists(values(shape.member, depth + 1), min_size=least, max_size=max(least, 2))
    if shape.type_name == "boolean":
        return st.booleans()
    if shape.type_name in ("integer", "long"):
        return NUMBERS
    return st.sampled_from(shape.enum) if shape.enum else WORDS


CONFIGS = st.deferred(lambda: values(SHAPE))

WORKING = distribution_config(
    Origins=quantified(custom_origin(), custom_origin("other", DomainName="localhost", ResponseCompletionTimeout=30)),
    OriginGroups=quantified(origin_group("pair", "web", "other")),
    CacheBehaviors=quantified(
        behavior(PathPattern="/a/*", TargetOriginId="other"), behavior(PathPattern="/b/*", TargetOriginId="pair")
    ),
    CustomErrorResponses=quantified(
        {"ErrorCode": 404, "ResponsePagePath": "/a", "ResponseCode": "200", "ErrorCachingMinTTL": 1}
    ),
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration that works, with one member at any depth replaced by, or enriched with, anything the model allows."""
    config: dict[str, Any] = _mutate(draw, SHAPE, WORKING)
    return config


def _mutate(draw: st.DrawFn, shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        name = draw(st.sampled_from(sorted(shape.members)))
        member = shape.members[name]
        if name not in value or draw(st.integers(0, 2)) == 0:
            return {**value, name: draw(values(member, 2))}
        return {**value, name: _mutate(draw, member, value[name])}
    if isinstance(shape, ListShape):
        position = draw(st.integers(0, len(value) - 1))
        return [*value[:position], _mutate(draw, shape.member, value[position]), *value[position + 1 :]]
    return draw(values(shape, 2))


def compile_any(config: dict[str, Any]) -> configuration_pb2.Distribution | None:
    """The distribution, or None when it was refused as a client's error."""
    result = compile_distribution(Identity("E1", "d1.test"), fill_distribution(config), MANAGED_CACHE_POLICIES, {})
    if isinstance(result, configuration_pb2.Distribution):
        return result
    assert result
    for problem in result:
        assert 400 <= STATUSES[problem.code] < 500
        assert problem.message.startswith("DistributionConfig")
    return None


def supplied(value: Any, pattern: str) -> list[tuple[str, Any]]:
    """The members that a configuration has, with their values: those that a rule decides about as a whole, whole."""
    if pattern in DISTRIBUTION_FIELDS:
        return [(pattern, value)]
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in supplied(item, f"{pattern}.{name}".removeprefix("."))]
    if isinstance(value, list):
        return [pair for item in value for pair in supplied(item, f"{pattern}[]")]
    return [(pattern, value)]


def check_nothing_ignored(config: dict[str, Any]) -> None:
    for pattern, value in supplied(config, ""):
        match DISTRIBUTION_FIELDS[pattern]:
            case Honoured() | WithoutEffect():
                pass
            case Only(allowed, _):
                assert value in allowed, pattern
            case Refused():
                assert value in ("", [], {}), pattern


def check_nodes_honour(distribution: configuration_pb2.Distribution, config: dict[str, Any]) -> None:
    """What a node reads says what the configuration said, of the members that nodes decide by."""
    read = read_distribution(distribution)
    groups = {group["Id"]: group for group in items(config.get("OriginGroups"))}
    behaviors = [*items(config.get("CacheBehaviors")), config["DefaultCacheBehavior"]]
    for said, behavior_read in zip(behaviors, (*read.behaviors, read.default_behavior), strict=True):
        group = groups.get(said["TargetOriginId"])
        members = [member["OriginId"] for member in items(group["Members"])] if group else [said["TargetOriginId"]]
        assert behavior_read.origin.id == members[0]
        assert behavior_read.compresses == said.get("Compress", False)
        assert (behavior_read.origin_group is None) == (group is None)
        if behavior_read.origin_group is not None:
            assert behavior_read.origin_group.secondary.id == members[1]
    assert {*read.error_responses} == {each["ErrorCode"] for each in items(config.get("CustomErrorResponses"))}


PATTERNS = st.text("ab/*?$~\"'@:+&_-.", min_size=1, max_size=8)


@given(st.lists(PATTERNS, unique_by=lambda pattern: pattern.removeprefix("/"), min_size=1, max_size=4), st.data())
def test_every_pattern_can_be_named_in_a_tag_and_means_that_behavior_alone(
    patterns: list[str], data: st.DataObject
) -> None:
    named = data.draw(st.sampled_from(patterns))
    tags = {semantics_key(named): "rfc9111"}
    assert [*tag_problems([*tags.items()], {})] == []
    config = distribution_config(CacheBehaviors=quantified(*(behavior(PathPattern=pattern) for pattern in patterns)))
    result = compile_distribution(Identity("E1", "d1.test"), fill_distribution(config), MANAGED_CACHE_POLICIES, tags)
    assert isinstance(result, configuration_pb2.Distribution), result
    read = read_distribution(result)
    strict = {each.path_pattern for each in (*read.behaviors, read.default_behavior) if each.semantics is RFC9111}
    assert strict == {named} | ({"*"} if named == "/*" else set())


@settings(max_examples=examples(37))
@given(CONFIGS)
def test_any_configuration_is_compiled_or_refused(config: dict[str, Any]) -> None:
    if compile_any(config) is not None:
        check_nothing_ignored(config)


@settings(max_examples=examples(150))
@given(mutated())
def test_a_working_configuration_with_anything_changed(config: dict[str, Any]) -> None:
    distribution = compile_any(config)
    if distribution is not None:
        check_nothing_ignored(config)
        assert distribution.enabled == config["Enabled"]
        assert len(distribution.origins) == len(config["Origins"]["Items"])
        # What was accepted can be put on the wire and back without a change, and no node rejects it.
        assert configuration_pb2.Distribution.FromString(distribution.SerializeToString()) == distribution
        check_nodes_honour(distribution, config)


def test_the_configuration_that_is_mutated_works() -> None:
    assert compile_any(WORKING) is not None


def as_xml_carries(value: Any) -> Any:
    """XML has one line end: a carriage return that a client writes arrives as a line feed (XML 1.0 section 2.11)."""
    if isinstance(value, dict):
        return {key: as_xml_carries(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_xml_carries(member) for member in value]
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


@settings(max_examples=examples(30))
@example(distribution_config(CallerReference="x\r\ny"))
@given(mutated())
def test_the_whole_api_never_fails_on_its_own(config: dict[str, Any]) -> None:
    api = WireApi()
    try:
        created = api.do("CreateDistribution", DistributionConfig=config)
    except ApiError as error:
        created, code = None, error.code
    if created is None:
        assert 400 <= STATUSES[code] < 500
        assert api.store.changes == [] and api.store.documents == {}
    else:
        read = api.do("GetDistributionConfig", Id=created["Distribution"]["Id"])["DistributionConfig"]
        assert read == as_xml_carries(fill_distribution(config))


SEMANTICS = "cdnlab:semantics"
USUAL_TAGS = st.dictionaries(
    st.sampled_from([SEMANTICS, *(f"{SEMANTICS}:{name}" for name in ("=2A", "/a/=2A", "a/=2a", "/=61/=2a")), "team"]),
    st.sampled_from(["cloudfront", "rfc9111"]),
    max_size=4,
)
ODD_TAGS = st.dictionaries(
    st.sampled_from([SEMANTICS, "cdnlab:x", "aws:x"])
    | st.text("aé٣ *=:/\t", max_size=4).map(f"{SEMANTICS}:".__add__)
    | st.text(max_size=3),
    st.sampled_from(["cloudfront", "rfc9111", ""]) | st.text(max_size=3),
    max_size=3,
)


def in_xml(text: str) -> bool:
    """Whether XML can say it at all (XML 1.0 section 2.2)."""
    return all(c in "\t\n\r" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff" for c in text)


@settings(max_examples=examples(50))
@given(USUAL_TAGS | ODD_TAGS.filter(lambda tags: all(map(in_xml, (*tags, *tags.values())))))
def test_any_tags_are_kept_and_those_of_the_lab_followed_or_all_are_refused(tags: dict[str, str]) -> None:
    api = WireApi()
    asked = {
        "DistributionConfig": distribution_config(CacheBehaviors=quantified(behavior(PathPattern="/a/*"))),
        "Tags": {"Items": [{"Key": key, "Value": value} for key, value in tags.items()]},
    }
    try:
        created = api.do("CreateDistributionWithTags", DistributionConfigWithTags=asked)
    except ApiError as error:
        created, code = None, error.code
    if created is None:
        assert code == "InvalidTagging"
        assert api.store.changes == [] and api.store.documents == {}
        return
    listed = api.do("ListTagsForResource", Resource=created["Distribution"]["ARN"])["Tags"]["Items"]
    assert {item["Key"]: item["Value"] for item in listed} == tags
    (published,) = api.published
    for each in (*published.behaviors, published.default_behavior):
        wanted = f"SEMANTICS_{chosen(tags, each.path_pattern).upper()}"
        assert configuration_pb2.Semantics.Name(each.semantics) == wanted


def chosen(tags: dict[str, str], pattern: str) -> str:
    """By the documentation, with the decoder of URLs: `=2A` is to a tag what `%2A` is to a URL."""
    prefix = "cdnlab:semantics:"
    named = {
        unquote(key.removeprefix(prefix).replace("=", "%"), "latin-1").removeprefix("/"): value
        for key, value in tags.items()
        if key.startswith(prefix)
    }
    return named.get(pattern.removeprefix("/"), tags.get("cdnlab:semantics", "cloudfront"))
