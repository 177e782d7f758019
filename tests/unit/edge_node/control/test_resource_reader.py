"""What a node makes of a distribution, and what it rejects whoever sent it: origin groups, error responses, compression, semantics (reference 1.4, 1.5, 2.5, 2.7)."""

from typing import Any

import pytest

from edge_node.control import resource_reader
from edge_node.model.configuration import ErrorResponse, GeoRestriction, Semantics, ViewerProtocolPolicy
from edge_node.model.errors import RejectedResourceError
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, distribution_message, origin_message, read_distribution

FIRST, SECOND = origin_message("h1", 80, id="first"), origin_message("h2", 81, id="second")


def group_message(**changes: Any) -> configuration_pb2.OriginGroup:
    values: dict[str, Any] = {
        "id": "pair", "primary_origin_id": "first", "secondary_origin_id": "second", "failover_statuses": [500, 404],
    }  # fmt: skip
    return configuration_pb2.OriginGroup(**(values | changes))


def with_group(group: configuration_pb2.OriginGroup, **changes: Any) -> configuration_pb2.Distribution:
    behavior = behavior_message(**({"origin_id": "first", "origin_group_id": "pair"} | changes))
    return distribution_message(FIRST, behavior, origins=[FIRST, SECOND], origin_groups=[group])


def with_responses(*responses: dict[str, Any]) -> configuration_pb2.Distribution:
    messages = [configuration_pb2.ErrorResponse(**response) for response in responses]
    return distribution_message(origin_message("h", 80), error_responses=messages)


def with_behavior(**changes: Any) -> configuration_pb2.Distribution:
    return distribution_message(origin_message("h", 80), behavior_message(**changes))


def rejection(message: configuration_pb2.Distribution) -> str:
    with pytest.raises(RejectedResourceError) as rejected:
        read_distribution(message)
    return str(rejected.value)


def test_a_message_without_any_of_it_means_none_of_it() -> None:
    """So is what an older control plane published, and what an older node left on disk."""
    distribution = read_distribution(with_behavior())
    behavior = distribution.default_behavior
    assert distribution.error_responses == {} and distribution.geo_restriction is None
    assert behavior.viewer_protocol_policy is ViewerProtocolPolicy.ALLOW_ALL
    assert behavior.origin_group is None and not behavior.compresses
    assert behavior.semantics is Semantics.CLOUDFRONT
    assert behavior.origin.completion_timeout == 0


# Origin groups


def test_an_origin_group() -> None:
    behavior = read_distribution(with_group(group_message())).default_behavior
    group = behavior.origin_group
    assert group is not None and group.id == "pair"
    assert group.primary is behavior.origin and (group.primary.host, group.secondary.host) == ("h1", "h2")
    assert group.failover_statuses == {404, 500}


def test_a_group_that_no_behavior_uses_is_read_and_left_alone() -> None:
    distribution = read_distribution(with_group(group_message(), origin_group_id="", origin_id="second"))
    assert distribution.default_behavior.origin_group is None
    assert distribution.default_behavior.origin.host == "h2"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": ""}, "origin group '': needs an id and two different origins"),
        ({"primary_origin_id": "third"}, "origin group 'pair': needs an id and two different origins"),
        ({"secondary_origin_id": ""}, "origin group 'pair': needs an id and two different origins"),
        ({"secondary_origin_id": "first"}, "origin group 'pair': needs an id and two different origins"),
        ({"failover_statuses": []}, "origin group 'pair': failover is for statuses of errors, one at least"),
        ({"failover_statuses": [500, 200]}, "origin group 'pair': failover is for statuses of errors, one at least"),
        ({"failover_statuses": [600]}, "origin group 'pair': failover is for statuses of errors, one at least"),
        ({"id": "first"}, "two origins or origin groups have one id"),
    ],
)
def test_a_group_that_cannot_be_honoured_is_rejected(changes: dict[str, Any], reason: str) -> None:
    assert rejection(with_group(group_message(**changes))) == reason


@pytest.mark.parametrize("changes", [{"origin_group_id": "none"}, {"origin_id": "second"}])
def test_a_behavior_goes_to_the_primary_of_a_group_that_there_is(changes: dict[str, str]) -> None:
    assert "behavior '*': there is no origin group" in rejection(with_group(group_message(), **changes))


def test_an_id_names_one_origin() -> None:
    twice = distribution_message(FIRST, behavior_message(origin_id="first"), origins=[FIRST, FIRST])
    assert rejection(twice) == "two origins or origin groups have one id"


# Error responses


def test_error_responses_are_found_by_status() -> None:
    page = {"error_status": 503, "minimum_ttl_seconds": 5, "page_path": "/errors/5xx.html", "response_status": 200}
    distribution = read_distribution(with_responses({"error_status": 404, "minimum_ttl_seconds": 300}, page))
    assert distribution.error_responses == {
        404: ErrorResponse(404, 300),
        503: ErrorResponse(503, 5, b"/errors/5xx.html", 200),
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"error_status": 200}, "error response 200: not the status of an error"),
        ({"error_status": 0}, "error response 0: not the status of an error"),
        ({"error_status": 600}, "error response 600: not the status of an error"),
        ({"page_path": "/p"}, "a page and the status that goes with it come together or not at all"),
        ({"response_status": 200}, "a page and the status that goes with it come together or not at all"),
        ({"page_path": "p", "response_status": 200}, "the path of its page does not begin with /"),
        ({"page_path": "/p", "response_status": 304}, "no page can be sent with status 304"),
        ({"page_path": "/p", "response_status": 204}, "no page can be sent with status 204"),
        ({"page_path": "/p q", "response_status": 200}, "holds white space, a control character or a fragment"),
        ({"page_path": "/p\r\nX: y", "response_status": 200}, "holds white space, a control character or a fragment"),
    ],
)
def test_an_error_response_that_cannot_be_honoured_is_rejected(changes: dict[str, Any], reason: str) -> None:
    assert reason in rejection(with_responses({"error_status": 404, "minimum_ttl_seconds": 10, **changes}))


def test_two_error_responses_for_one_status_are_rejected() -> None:
    assert rejection(with_responses({"error_status": 404}, {"error_status": 404, "minimum_ttl_seconds": 1})) == (
        "two error responses are for one status"
    )


# Behaviors and origins


def test_compression_and_the_bound_on_a_response() -> None:
    origin = origin_message("h", 80, completion_timeout_milliseconds=1_500)
    behavior = read_distribution(distribution_message(origin, behavior_message(compress=True))).default_behavior
    assert behavior.compresses and behavior.origin.completion_timeout == 1.5


@pytest.mark.parametrize(
    ("number", "semantics"),
    [
        (configuration_pb2.SEMANTICS_UNSPECIFIED, Semantics.CLOUDFRONT),
        (configuration_pb2.SEMANTICS_CLOUDFRONT, Semantics.CLOUDFRONT),
        (configuration_pb2.SEMANTICS_RFC9111, Semantics.RFC9111),
    ],
)
def test_semantics(number: int, semantics: Semantics) -> None:
    assert read_distribution(with_behavior(semantics=number)).default_behavior.semantics is semantics


def test_semantics_of_a_newer_control_plane_are_rejected_and_not_guessed() -> None:
    assert rejection(with_behavior(semantics=3)) == "behavior '*': semantics number 3 is newer than this node"


def test_a_policy_that_is_not_there_is_rejected() -> None:
    with pytest.raises(RejectedResourceError, match="behavior '\\*': there is no cache policy 'gone'"):
        resource_reader.read_distribution(with_behavior(cache_policy_id="gone"), {})


# Geographic restriction and viewer protocol policy (reference 6.1, 6.5)


def with_restriction(**values: Any) -> configuration_pb2.Distribution:
    return distribution_message(origin_message("h", 80), geo_restriction=configuration_pb2.GeoRestriction(**values))


@pytest.mark.parametrize(
    ("type_", "is_allow_list"),
    [
        (configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST, True),
        (configuration_pb2.GeoRestriction.TYPE_DENY_LIST, False),
    ],
)
def test_a_geographic_restriction(type_: int, is_allow_list: bool) -> None:
    distribution = read_distribution(with_restriction(type=type_, countries=["US", "DE"]))
    assert distribution.geo_restriction == GeoRestriction(is_allow_list, frozenset({b"DE", b"US"}))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"countries": ["US"]}, "geographic restriction: its type, number 0, is newer than this node"),
        ({"type": 3, "countries": ["US"]}, "geographic restriction: its type, number 3, is newer than this node"),
        ({"type": 1}, "geographic restriction: without countries"),
        ({"type": 2, "countries": ["US", "de"]}, "'de' is no country"),
        ({"type": 2, "countries": [""]}, "'' is no country"),
    ],
)
def test_a_restriction_that_cannot_be_kept_rejects_the_distribution(values: dict[str, Any], reason: str) -> None:
    assert rejection(with_restriction(**values)) == reason


@pytest.mark.parametrize(
    ("number", "policy"),
    [
        (configuration_pb2.VIEWER_PROTOCOL_POLICY_UNSPECIFIED, ViewerProtocolPolicy.ALLOW_ALL),
        (configuration_pb2.VIEWER_PROTOCOL_POLICY_ALLOW_ALL, ViewerProtocolPolicy.ALLOW_ALL),
        (configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY, ViewerProtocolPolicy.HTTPS_ONLY),
        (configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS, ViewerProtocolPolicy.REDIRECT_TO_HTTPS),
    ],
)
def test_a_viewer_protocol_policy(number: int, policy: ViewerProtocolPolicy) -> None:
    assert (
        read_distribution(with_behavior(viewer_protocol_policy=number)).default_behavior.viewer_protocol_policy
        is policy
    )


def test_a_viewer_protocol_policy_of_later_rejects_the_distribution() -> None:
    """To serve all the same would be to tell over http what is for https."""
    assert rejection(with_behavior(viewer_protocol_policy=4)) == (
        "behavior '*': viewer protocol policy number 4 is newer than this node"
    )
