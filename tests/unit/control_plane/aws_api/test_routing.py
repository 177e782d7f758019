"""Requests to operations, by the templates of the model."""

import pytest

from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.model import load_model
from control_plane.aws_api.routing import Router, parse_query, unique_query

ROUTER = Router(load_model())


def found(method: str, path: str, query: str = "") -> tuple[str, dict[str, str]]:
    operation, labels = ROUTER.find(method, f"/2020-05-31/{path}", unique_query(parse_query(query)))
    return operation.name, labels


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "labels"),
    [
        ("POST", "distribution", "", "CreateDistribution", {}),
        ("POST", "distribution/", "", "CreateDistribution", {}),
        ("POST", "distribution", "WithTags", "CreateDistributionWithTags", {}),
        ("POST", "distribution", "WithTags=", "CreateDistributionWithTags", {}),
        ("GET", "distribution/E1", "", "GetDistribution", {"Id": "E1"}),
        ("GET", "distribution/E%2F1", "", "GetDistribution", {"Id": "E/1"}),
        ("GET", "distribution/E1/config", "", "GetDistributionConfig", {"Id": "E1"}),
        ("PUT", "distribution/E1/config", "", "UpdateDistribution", {"Id": "E1"}),
        ("POST", "distribution/E1/invalidation", "", "CreateInvalidation", {"DistributionId": "E1"}),
        ("GET", "distribution/E1/invalidation/I1", "", "GetInvalidation", {"DistributionId": "E1", "Id": "I1"}),
        ("PUT", "cache-policy/p", "", "UpdateCachePolicy", {"Id": "p"}),
        ("POST", "tagging", "Operation=Tag", "TagResource", {}),
        ("POST", "tagging", "Operation=Untag", "UntagResource", {}),
        ("GET", "distribution", "Marker=a&MaxItems=1", "ListDistributions", {}),
    ],
)
def test_a_request_finds_its_operation(
    method: str, path: str, query: str, operation: str, labels: dict[str, str]
) -> None:
    assert found(method, path, query) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("PATCH", "distribution", ""),
        ("GET", "distribution/E1/nothing/here", ""),
        ("GET", "distribution//config", ""),
        ("GET", "distribution/E%001", ""),
        ("POST", "tagging", "Operation=Other"),
        ("GET", "", ""),
    ],
)
def test_what_no_operation_is(method: str, path: str, query: str) -> None:
    with pytest.raises(ApiError) as refused:
        found(method, path, query)
    assert refused.value.code == "UnknownOperationException"


def test_a_query_is_decoded_without_making_spaces_of_plus_signs() -> None:
    assert parse_query("a=b%20c+d&&e&f=%C3%A9=") == [("a", "b c+d"), ("e", ""), ("f", "é=")]


def test_a_parameter_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        unique_query(parse_query("Marker=a&Marker=b"))
    assert refused.value.code == "InvalidQueryParameter"
