"""The compiler on origin groups, custom error responses, compression and bounds on responses: reference 1.4, 1.5, 2.5 and 2.7."""

from typing import Any

import pytest

from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Problem
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import behavior, changed, custom_origin, distribution_config, origin_group, quantified

ERROR_CODES = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
FAILOVER_STATUSES = (400, 403, 404, 416, 429, 500, 502, 503, 504)
TWO_ORIGINS = quantified(custom_origin("web"), custom_origin("spare"))
ALL_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


def result_of(config: dict[str, Any]) -> configuration_pb2.Distribution | list[Problem]:
    return compile_distribution(Identity("E1", "d1.test"), fill_distribution(config), MANAGED_CACHE_POLICIES, {})


def compiled(config: dict[str, Any]) -> configuration_pb2.Distribution:
    result = result_of(config)
    assert isinstance(result, configuration_pb2.Distribution), result
    return result


def refusals(config: dict[str, Any]) -> list[tuple[str, str]]:
    result = result_of(config)
    assert isinstance(result, list)
    return [(problem.code, problem.message.removeprefix("DistributionConfig.")) for problem in result]


def with_group(group: dict[str, Any], **members: Any) -> dict[str, Any]:
    return distribution_config(Origins=TWO_ORIGINS, OriginGroups=quantified(group), **members)


def with_responses(*responses: dict[str, Any]) -> dict[str, Any]:
    return distribution_config(CustomErrorResponses=quantified(*responses))


# Origin groups


def test_a_behavior_that_targets_a_group_goes_to_its_primary_first() -> None:
    methods = {**quantified("GET", "HEAD", "OPTIONS"), "CachedMethods": quantified("GET", "HEAD", "OPTIONS")}
    distribution = compiled(
        with_group(
            origin_group("pair", "spare", "web", 503, 404),
            DefaultCacheBehavior=behavior(TargetOriginId="pair", AllowedMethods=methods),
            CacheBehaviors=quantified(behavior(PathPattern="/a", TargetOriginId="web")),
        )
    )
    (group,) = distribution.origin_groups
    assert (group.id, group.primary_origin_id, group.secondary_origin_id) == ("pair", "spare", "web")
    assert list(group.failover_statuses) == [404, 503]
    default, (ordered,) = distribution.default_behavior, distribution.behaviors
    assert (default.origin_id, default.origin_group_id) == ("spare", "pair")
    assert (ordered.origin_id, ordered.origin_group_id) == ("web", "")


def test_every_failover_status_of_the_service() -> None:
    (group,) = compiled(with_group(origin_group("pair", "web", "spare", *FAILOVER_STATUSES))).origin_groups
    assert tuple(group.failover_statuses) == FAILOVER_STATUSES


def test_the_default_way_to_choose_may_be_said_and_is_answered() -> None:
    said = with_group({**origin_group("pair", "web", "spare"), "SelectionCriteria": "default"})
    unsaid = with_group(origin_group("pair", "web", "spare"))
    assert compiled(said) == compiled(unsaid)
    assert fill_distribution(unsaid)["OriginGroups"]["Items"][0]["SelectionCriteria"] == "default"


def test_choosing_by_media_quality_is_refused() -> None:
    config = with_group({**origin_group("pair", "web", "spare"), "SelectionCriteria": "media-quality-based"})
    ((code, message),) = refusals(config)
    assert code == "InvalidArgument"
    assert message.startswith(
        "OriginGroups.Items[0].SelectionCriteria is not supported yet with the value media-quality"
    )


@pytest.mark.parametrize("status", [401, 200, 501, 405, 0, -1])
def test_other_statuses_never_cause_failover(status: int) -> None:
    ((code, message),) = refusals(with_group(origin_group("pair", "web", "spare", 500, status)))
    assert code == "InvalidArgument"
    assert message == (
        "OriginGroups.Items[0].FailoverCriteria.StatusCodes must be one or more of "
        "400, 403, 404, 416, 429, 500, 502, 503, 504, each once"
    )


@pytest.mark.parametrize(
    ("group", "code", "message"),
    [
        (origin_group("pair", "web", "spare", 500, 500), "InvalidArgument", "StatusCodes must be one or more of"),
        (origin_group("pair", "web", "web"), "InvalidArgument", "Members must be two different origins, the primary"),
        (origin_group("pair", "web", "nowhere"), "NoSuchOrigin", "Members.Items[1].OriginId names 'nowhere', which no"),
        (
            origin_group("pair", "pair", "web"),
            "NoSuchOrigin",
            "Members.Items[0].OriginId names 'pair', which no origin",
        ),
        (origin_group("", "web", "spare"), "InvalidArgument", "Items[0].Id must have 1 to 128 characters"),
        (origin_group("x" * 129, "web", "spare"), "InvalidArgument", "Items[0].Id must have 1 to 128 characters"),
        (origin_group("web", "web", "spare"), "InvalidArgument", "must not use one Id twice, nor that of an origin"),
    ],
)
def test_what_an_origin_group_may_not_say(group: dict[str, Any], code: str, message: str) -> None:
    ((found, text),) = refusals(with_group(group))
    assert found == code and text.startswith("OriginGroups") and message in text


@pytest.mark.parametrize("count", [1, 3])
def test_a_group_has_exactly_two_members(count: int) -> None:
    members = quantified(*({"OriginId": name} for name in ("web", "spare", "third")[:count]))
    config = with_group({**origin_group("pair", "web", "spare"), "Members": members})
    config["Origins"] = quantified(*map(custom_origin, ("web", "spare", "third")))
    assert refusals(config) == [
        ("InvalidArgument", "OriginGroups.Items[0].Members must be two different origins, the primary first")
    ]


def test_a_group_without_a_status_is_refused() -> None:
    group = changed(origin_group("pair", "web", "spare"), "FailoverCriteria.StatusCodes", quantified())
    assert [code for code, _ in refusals(with_group(group))] == ["InvalidArgument"]


def test_ids_of_groups_are_unique_and_there_are_at_most_ten() -> None:
    groups = [origin_group(str(number), "web", "spare") for number in range(11)]
    config = distribution_config(Origins=TWO_ORIGINS, OriginGroups=quantified(*groups))
    assert refusals(config) == [("TooManyOriginGroupsPerDistribution", "OriginGroups must hold at most 10, not 11")]
    config = distribution_config(Origins=TWO_ORIGINS, OriginGroups=quantified(*groups[:2], groups[0]))
    assert refusals(config) == [
        ("InvalidArgument", "OriginGroups must not use one Id twice, nor that of an origin"),
    ]
    assert (
        len(compiled(distribution_config(Origins=TWO_ORIGINS, OriginGroups=quantified(*groups[:10]))).origin_groups)
        == 10
    )


def test_methods_that_never_fail_over_do_not_go_with_a_group() -> None:
    methods = {**quantified(*ALL_METHODS), "CachedMethods": quantified("GET", "HEAD")}
    target = behavior(TargetOriginId="pair", AllowedMethods=methods)
    config = with_group(origin_group("pair", "web", "spare"), DefaultCacheBehavior=target)
    ((code, message),) = refusals(config)
    assert code == "InvalidArgument"
    assert message.startswith("DefaultCacheBehavior.AllowedMethods must be GET, HEAD or GET, HEAD, OPTIONS, because")
    ordered = quantified(behavior(PathPattern="/a", TargetOriginId="pair", AllowedMethods=methods))
    config = with_group(origin_group("pair", "web", "spare"), CacheBehaviors=ordered)
    assert [message.partition(" ")[0] for _, message in refusals(config)] == ["CacheBehaviors.Items[0].AllowedMethods"]


# Custom error responses


def test_an_error_response_with_a_page() -> None:
    page = {"ErrorCode": 503, "ResponsePagePath": "/errors/5xx.html", "ResponseCode": "200", "ErrorCachingMinTTL": 0}
    (response,) = compiled(with_responses(page)).error_responses
    assert (response.error_status, response.page_path, response.response_status) == (503, "/errors/5xx.html", 200)
    assert response.minimum_ttl_seconds == 0


@pytest.mark.parametrize("absent", [{}, {"ResponsePagePath": "", "ResponseCode": ""}])
def test_an_error_response_without_a_page_only_sets_how_long_the_error_is_cached(absent: dict[str, str]) -> None:
    (response,) = compiled(with_responses({"ErrorCode": 404, "ErrorCachingMinTTL": 300, **absent})).error_responses
    assert (response.error_status, response.minimum_ttl_seconds) == (404, 300)
    assert (response.page_path, response.response_status) == ("", 0)


def test_errors_are_cached_for_ten_seconds_unless_told_otherwise() -> None:
    (response,) = compiled(with_responses({"ErrorCode": 404})).error_responses
    assert response.minimum_ttl_seconds == 10


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_code_of_the_service(code: int) -> None:
    page = {"ErrorCode": code, "ResponsePagePath": "/p", "ResponseCode": str(code)}
    (response,) = compiled(with_responses(page)).error_responses
    assert (response.error_status, response.response_status) == (code, code)


@pytest.mark.parametrize("code", [412, 415, 401, 429, 200, 304, 0, -404, 599])
def test_other_error_codes_are_refused(code: int) -> None:
    ((found, message),) = refusals(with_responses({"ErrorCode": code}))
    assert found == "InvalidErrorCode"
    assert message.startswith("CustomErrorResponses.Items[0].ErrorCode must be one of 400, 403, 404")


@pytest.mark.parametrize("code", ["412", "415", "201", "304", "0200", " 200", "two hundred", "-200", "200.0"])
def test_other_response_codes_are_refused(code: str) -> None:
    page = {"ErrorCode": 404, "ResponsePagePath": "/p", "ResponseCode": code}
    ((found, message),) = refusals(with_responses(page))
    assert found == "InvalidResponseCode"
    assert message.startswith("CustomErrorResponses.Items[0].ResponseCode must be one of 200, 400, 403")


@pytest.mark.parametrize("half", [{"ResponsePagePath": "/p"}, {"ResponseCode": "200"}])
def test_page_and_code_come_together(half: dict[str, str]) -> None:
    assert refusals(with_responses({"ErrorCode": 404, **half})) == [
        (
            "InvalidArgument",
            "CustomErrorResponses.Items[0] must have both ResponsePagePath and ResponseCode, or neither",
        )
    ]


@pytest.mark.parametrize(
    "path", ["p.html", "http://x/p", "//x y", "/a b", "/a\r\nX: y", "/é", "/a?b", "/a#b", "/" + "x" * 4_000]
)
def test_a_page_is_named_by_a_path(path: str) -> None:
    page = {"ErrorCode": 404, "ResponsePagePath": path, "ResponseCode": "200"}
    ((code, message),) = refusals(with_responses(page))
    assert code == "InvalidRelativePath"
    assert message.startswith(
        "CustomErrorResponses.Items[0].ResponsePagePath must be the path of a URL, beginning with /"
    )


@pytest.mark.parametrize("seconds", [-1, 100 * 365 * 86_400 + 1])
def test_how_long_an_error_can_be_cached(seconds: int) -> None:
    ((code, message),) = refusals(with_responses({"ErrorCode": 404, "ErrorCachingMinTTL": seconds}))
    assert code == "InvalidArgument" and "ErrorCachingMinTTL must be 0 to 3153600000 seconds (100 years)" in message


def test_an_error_code_has_one_response() -> None:
    assert refusals(with_responses({"ErrorCode": 404}, {"ErrorCode": 404, "ErrorCachingMinTTL": 5})) == [
        ("InvalidArgument", "CustomErrorResponses must not hold one ErrorCode twice")
    ]


# Compression and the bound on a whole response


def test_compression_is_of_one_behavior() -> None:
    config = distribution_config(
        DefaultCacheBehavior=behavior(Compress=True), CacheBehaviors=quantified(behavior(PathPattern="/a"))
    )
    distribution = compiled(config)
    assert distribution.default_behavior.compress
    assert not distribution.behaviors[0].compress


def test_a_bound_on_whole_responses() -> None:
    origins = quantified(custom_origin("web", ResponseCompletionTimeout=45), custom_origin("other"))
    bounded, unbounded = compiled(distribution_config(Origins=origins)).origins
    assert bounded.completion_timeout_milliseconds == 45_000
    assert unbounded.completion_timeout_milliseconds == 0


def test_the_bound_is_compared_with_what_the_origin_says_about_reading() -> None:
    origin = custom_origin("web", ResponseCompletionTimeout=5)
    origin["CustomOriginConfig"] = {**origin["CustomOriginConfig"], "OriginReadTimeout": 5}
    assert compiled(distribution_config(Origins=quantified(origin))).origins[0].completion_timeout_milliseconds == 5_000
    origin["CustomOriginConfig"]["OriginReadTimeout"] = 6
    ((code, message),) = refusals(distribution_config(Origins=quantified(origin)))
    assert code == "InvalidArgument" and "at least OriginReadTimeout, which is 6 seconds" in message
