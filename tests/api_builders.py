"""What tests of the management API say often: configurations, and an API without sockets that is spoken to in wire format."""

import copy
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from botocore.model import ListShape, Shape, StructureShape
from botocore.parsers import RestXMLParser
from botocore.serialize import RestXMLSerializer
from botocore.utils import percent_encode_sequence

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import WireRequest, decode_request, encode_response
from control_plane.aws_api.model import load_model
from control_plane.aws_api.operations import OPERATIONS
from control_plane.aws_api.routing import Router, parse_query, unique_query
from control_plane.aws_api.validation import validate
from control_plane.state import Put
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.resources import cache_policy_name
from tests.fakes_control import FakeDeployment, FakeStore

CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
AMPLIFY = "2e54312d-136d-493c-8eb9-b001f22f67d2"
ZONE = "cdn.localhost"
NOW = datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)


def custom_origin(identifier: str = "web", **members: Any) -> dict[str, Any]:
    """An origin on this machine."""
    custom = {"HTTPPort": 8080, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}
    return {"Id": identifier, "DomainName": "127.0.0.1", "CustomOriginConfig": custom, **members}


def behavior(**members: Any) -> dict[str, Any]:
    """As little as a behavior can say."""
    return {
        "TargetOriginId": "web",
        "ViewerProtocolPolicy": "allow-all",
        "CachePolicyId": CACHING_OPTIMIZED,
        **members,
    }


def origin_group(identifier: str, primary: str, secondary: str, *statuses: int) -> dict[str, Any]:
    """Fails over on 500 unless told otherwise."""
    return {
        "Id": identifier,
        "FailoverCriteria": {"StatusCodes": quantified(*(statuses or (500,)))},
        "Members": quantified({"OriginId": primary}, {"OriginId": secondary}),
    }


def quantified(*items: Any) -> dict[str, Any]:
    """`{Quantity, Items}`."""
    return {"Quantity": len(items), "Items": list(items)}


def distribution_config(**members: Any) -> dict[str, Any]:
    """As little as a distribution can say."""
    return {
        "CallerReference": "first",
        "Comment": "",
        "Enabled": True,
        "Origins": quantified(custom_origin()),
        "DefaultCacheBehavior": behavior(),
        **members,
    }


def cache_policy_config(name: str = "mine", **members: Any) -> dict[str, Any]:
    """A policy that keys on nothing but the path."""
    return {
        "Name": name,
        "MinTTL": 0,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": True,
            "HeadersConfig": {"HeaderBehavior": "none"},
            "CookiesConfig": {"CookieBehavior": "none"},
            "QueryStringsConfig": {"QueryStringBehavior": "none"},
        },
        **members,
    }


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one member, for example `DefaultCacheBehavior.Compress`, replaced or added; a number is a position in a list."""
    copied = copy.deepcopy(config)
    *parents, last = path.split(".")
    place: Any = copied
    for name in parents:
        place = place[int(name)] if name.isdigit() else place.setdefault(name, {})
    place[int(last) if last.isdigit() else last] = value
    return copied


MODEL = load_model()
ROUTER = Router(MODEL)
"""Neither changes; to read the model takes longer than most tests."""


class WireApi:
    """The API as a client's serializer and parser see it, without a socket and without signatures."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.deployment = FakeDeployment()
        self.now = NOW
        self._rng = random.Random(1)

    def do(self, name: str, **parameters: Any) -> Any:
        """One request and its response; ApiError when it is refused."""
        operation = MODEL.operation_model(name)
        request = RestXMLSerializer().serialize_to_request(parameters, operation)
        parts = urlsplit(request["url_path"])
        query = "&".join(filter(None, (parts.query, percent_encode_sequence(request["query_string"]))))
        parsed_query = unique_query(parse_query(query))
        routed, labels = ROUTER.find(request["method"], parts.path, parsed_query)
        headers = {header.lower(): value for header, value in request["headers"].items()}
        decoded = decode_request(routed, WireRequest(labels, parsed_query, headers, request["body"]))
        validate(routed, decoded)
        with self.store.transaction() as transaction:
            call = Call(transaction, self.deployment, ZONE, self.now, self._rng, "http://127.0.0.1:4566")
            result = OPERATIONS[routed.name](call, decoded)
        self.now += timedelta(seconds=1)
        response = encode_response(routed, result)
        if operation.output_shape is None:
            return None
        raw = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
        parsed = RestXMLParser().parse(raw, operation.output_shape)
        assert_complete(operation.output_shape, parsed, name)
        return parsed

    @property
    def published(self) -> list[configuration_pb2.Distribution]:
        """What the nodes got, oldest first; other changes are left out."""
        return [
            configuration_pb2.Distribution.FromString(change.body)
            for change in self.store.changes
            if isinstance(change, Put) and change.name.kind == sync_pb2.RESOURCE_KIND_DISTRIBUTION
        ]

    def published_policy(self, policy_id: str) -> configuration_pb2.CachePolicy | None:
        """As nodes have it now."""
        with self.store.transaction() as transaction:
            body = transaction.published(cache_policy_name(policy_id))
        return None if body is None else configuration_pb2.CachePolicy.FromString(body)

    def apply_everywhere(self) -> None:
        """Every node acknowledges the whole log."""
        self.deployment.applied_index = len(self.store.entries)


def assert_complete(shape: Shape, value: Any, path: str) -> None:
    """Every member that the model requires is there."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            assert name in value, f"{path}.{name} is missing"
        for name in shape.members.keys() & value.keys():
            assert_complete(shape.members[name], value[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for item in value:
            assert_complete(shape.member, item, f"{path}[]")
