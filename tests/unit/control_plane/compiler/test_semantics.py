"""The reserved tags that choose whose caching rules a behavior follows: docs/decisions/0005-semantics-by-tag.md."""

from typing import Any

import pytest

from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Problem
from control_plane.compiler.semantics import semantics_key
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import behavior, distribution_config, quantified

CLOUDFRONT, RFC9111 = configuration_pb2.SEMANTICS_CLOUDFRONT, configuration_pb2.SEMANTICS_RFC9111


def result_of(tags: dict[str, str], *patterns: str) -> configuration_pb2.Distribution | list[Problem]:
    config = distribution_config(CacheBehaviors=quantified(*(behavior(PathPattern=pattern) for pattern in patterns)))
    return compile_distribution(Identity("E1", "d1.test"), fill_distribution(config), MANAGED_CACHE_POLICIES, tags)


def semantics(tags: dict[str, str], *patterns: str) -> dict[str, Any]:
    result = result_of(tags, *patterns)
    assert isinstance(result, configuration_pb2.Distribution), result
    return {each.path_pattern: each.semantics for each in (*result.behaviors, result.default_behavior)}


def refusals(tags: dict[str, str], *patterns: str) -> list[str]:
    result = result_of(tags, *patterns)
    assert isinstance(result, list), result
    assert {problem.code for problem in result} == {"InvalidTagging"}
    return [problem.message for problem in result]


def test_without_a_tag_the_service_is_followed() -> None:
    assert semantics({}, "/a") == {"/a": CLOUDFRONT, "*": CLOUDFRONT}
    assert semantics({"team": "web", "semantics": "rfc9111"}, "/a") == {"/a": CLOUDFRONT, "*": CLOUDFRONT}


def test_one_tag_chooses_for_all_behaviors() -> None:
    assert semantics({"cdnlab:semantics": "rfc9111"}, "/a") == {"/a": RFC9111, "*": RFC9111}
    assert semantics({"cdnlab:semantics": "cloudfront"}, "/a") == {"/a": CLOUDFRONT, "*": CLOUDFRONT}


def test_a_tag_with_a_pattern_chooses_for_one_behavior_and_wins() -> None:
    tags = {"cdnlab:semantics": "rfc9111", "cdnlab:semantics:/api/=2A": "cloudfront"}
    assert semantics(tags, "/api/*", "/b") == {"/api/*": CLOUDFRONT, "/b": RFC9111, "*": RFC9111}
    tags = {"cdnlab:semantics:=2A": "rfc9111"}
    assert semantics(tags, "/api/*") == {"/api/*": CLOUDFRONT, "*": RFC9111}


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("cdnlab:semantics:api/=2a", "/api/*"),
        ("cdnlab:semantics:/api/=2A", "api/*"),
        ("cdnlab:semantics:=2Fapi", "/api"),
        ("cdnlab:semantics:/=61", "/a"),
        ("cdnlab:semantics:/a=3Fb", "/a?b"),
        ("cdnlab:semantics:/=7Euser/=24=26=27=22", "/~user/$&'\""),
        ("cdnlab:semantics:/a:b@c+d.e_f-g", "/a:b@c+d.e_f-g"),
    ],
)
def test_patterns_are_named_as_tags_can_hold_them(key: str, pattern: str) -> None:
    assert semantics({key: "rfc9111"}, pattern) == {pattern: RFC9111, "*": CLOUDFRONT}


def test_a_key_is_written_as_the_documentation_says() -> None:
    assert semantics_key("/api/*") == "cdnlab:semantics:/api/=2A"
    assert semantics_key("*") == "cdnlab:semantics:=2A"


def test_a_pattern_that_no_behavior_has_is_refused_with_those_there_are() -> None:
    (message,) = refusals({"cdnlab:semantics:/app/=2A": "rfc9111"}, "/api/*", "/b~")
    assert message == (
        "The tag cdnlab:semantics:/app/=2A names '/app/*', which is the path pattern of no behavior; there are "
        "cdnlab:semantics:/api/=2A, cdnlab:semantics:/b=7E, cdnlab:semantics:=2A "
        "(to remove a behavior that has a tag, untag it first)"
    )


@pytest.mark.parametrize("key", ["cdnlab:semantics:", "cdnlab:semantics:/API", "cdnlab:semantics: /api"])
def test_a_pattern_is_compared_exactly(key: str) -> None:
    assert "is the path pattern of no behavior" in refusals({key: "rfc9111"}, "/api", "/")[0]


@pytest.mark.parametrize("key", ["cdnlab:semantics:/a=", "cdnlab:semantics:/a=2", "cdnlab:semantics:/a=zz"])
def test_an_encoded_character_is_two_hexadecimal_digits(key: str) -> None:
    (message,) = refusals({key: "rfc9111"}, "/a")
    assert message == f"The tag {key} holds a = that begins no encoded character, such as =2A for *"


def test_one_behavior_is_named_once() -> None:
    tags = {"cdnlab:semantics:/a": "rfc9111", "cdnlab:semantics:a": "cloudfront"}
    assert refusals(tags, "/a") == ["The tag cdnlab:semantics:a names the same behavior as cdnlab:semantics:/a"]


@pytest.mark.parametrize(
    "key", ["cdnlab:", "cdnlab:semantic", "cdnlab:semantics/x", "cdnlab:Semantics", "CdnLab:semantics", "cdnlab:mode"]
)
def test_nothing_else_below_the_prefix_is_taken_for_a_tag_of_the_user_s(key: str) -> None:
    assert refusals({key: "rfc9111"}) == [
        f"The tag {key} is not known; of the tags that begin with cdnlab: there are "
        "cdnlab:semantics, cdnlab:semantics:PATH-PATTERN and cdnlab:strict-invalidation"
    ]


@pytest.mark.parametrize("value", ["", "RFC9111", "rfc 9111", "strict"])
@pytest.mark.parametrize("key", ["cdnlab:semantics", "cdnlab:semantics:=2A"])
def test_semantics_that_there_are_not(key: str, value: str) -> None:
    assert refusals({key: value}) == [f"The tag {key} must be cloudfront or rfc9111, not {value!r}"]


def test_all_that_is_wrong_with_tags_is_said_at_once() -> None:
    tags = {"cdnlab:semantics": "strict", "cdnlab:x": "1", "cdnlab:semantics:/b": "rfc9111"}
    assert len(refusals(tags, "/a")) == 3


@pytest.mark.parametrize(
    ("tags", "expected"),
    [({}, False), ({"cdnlab:strict-invalidation": "false"}, False), ({"cdnlab:strict-invalidation": "true"}, True)],
)
def test_a_distribution_is_strictly_invalidated_where_a_tag_says_so(tags: dict[str, str], expected: bool) -> None:
    result = result_of(tags)
    assert isinstance(result, configuration_pb2.Distribution) and result.strict_invalidation is expected


@pytest.mark.parametrize("value", ["", "yes", "True"])
def test_strict_invalidation_is_true_or_false(value: str) -> None:
    (message,) = refusals({"cdnlab:strict-invalidation": value})
    assert message == f"The tag cdnlab:strict-invalidation must be true or false, not {value!r}"
