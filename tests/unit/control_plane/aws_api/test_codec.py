"""The codec against botocore's own serializer and parser: both directions, every operation of the model. A new botocore that breaks it is noticed here."""

import random
import string
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.model import ListShape, Shape, StructureShape
from botocore.parsers import RestXMLParser
from botocore.serialize import RestXMLSerializer
from botocore.utils import percent_encode_sequence

from control_plane.aws_api.codec import WireRequest, decode_request, encode_error, encode_response
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.model import NAMESPACE, load_model
from control_plane.aws_api.routing import Router, parse_query, unique_query
from control_plane.aws_api.validation import validate

MODEL = load_model()
ROUTER = Router(MODEL)
CREATE = MODEL.operation_model("CreateDistribution")
INVALIDATE = MODEL.operation_model("CreateInvalidation")


class Inventor:
    """Invents values for any shape."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def value(self, shape: Shape, depth: int = 0) -> Any:
        if isinstance(shape, StructureShape):
            return self._structure(shape, depth)
        if isinstance(shape, ListShape):
            return [self.value(shape.member, depth + 1) for _ in range(self._rng.randint(1, 2))]
        match shape.type_name:
            case "integer" | "long":
                return self._rng.randint(-5, 1000)
            case "float" | "double":
                return self._rng.randint(0, 100) / 4
            case "boolean":
                return self._rng.random() < 0.5
            case "timestamp":
                return datetime(2026, 1, 2, 3, 4, self._rng.randint(0, 59), tzinfo=UTC)
            case "blob":
                return self._word().encode()
            case "string":
                return self._rng.choice(shape.enum) if shape.enum else self._word()
        raise AssertionError(f"nothing is known of the type {shape.type_name}")

    def _structure(self, shape: StructureShape, depth: int) -> dict[str, Any]:
        if shape.is_tagged_union:
            name = self._rng.choice(list(shape.members))
            return {name: self.value(shape.members[name], depth + 1)}
        payload = shape.serialization.get("payload")
        return {
            name: self.value(member, depth + 1)
            for name, member in shape.members.items()
            if name in shape.required_members or name == payload or (depth < 8 and self._rng.random() < 0.6)
        }

    def _word(self) -> str:
        return "".join(self._rng.choices(string.ascii_letters + "&<>\"é'+ -%/", k=8))


def sent(name: str, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What arrives when botocore's client sends these parameters."""
    operation = MODEL.operation_model(name)
    request = RestXMLSerializer().serialize_to_request(parameters, operation)
    parts = urlsplit(request["url_path"])
    query = unique_query(
        parse_query("&".join(filter(None, (parts.query, percent_encode_sequence(request["query_string"])))))
    )
    routed, labels = ROUTER.find(request["method"], parts.path, query)
    headers = {header.lower(): value for header, value in request["headers"].items()}
    return routed.name, decode_request(routed, WireRequest(labels, query, headers, request["body"]))


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_what_a_client_sends_is_what_arrives(name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    for seed in range(3):
        parameters = Inventor(seed).value(shape) if shape else {}
        assert sent(name, parameters) == (name, parameters)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_what_is_answered_is_what_a_client_reads(name: str) -> None:
    operation = MODEL.operation_model(name)
    if operation.output_shape is None:
        assert encode_response(operation, {}).body == b""
        return
    for seed in range(3):
        result = Inventor(seed).value(operation.output_shape)
        response = encode_response(operation, result)
        assert response.status == operation.http["responseCode"]
        raw = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
        read = RestXMLParser().parse(raw, operation.output_shape)
        read.pop("ResponseMetadata")
        if operation.has_streaming_output:
            # The real client hands over the stream itself.
            read[operation.output_shape.serialization["payload"]] = response.body
        assert read == result


def decode(body: str, operation: Any = CREATE) -> dict[str, Any]:
    return decode_request(operation, WireRequest({"DistributionId": "E1"}, {}, {}, body.encode()))


def batch(content: str, attributes: str = f'xmlns="{NAMESPACE}"') -> str:
    return f"<InvalidationBatch {attributes}>{content}</InvalidationBatch>"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<DistributionConfig>", "not well-formed"),
        ("\x00", "not well-formed"),
        ("not xml", "not well-formed"),
        ("<A/><B/>", "not well-formed"),
        ("<Other/>", "must hold DistributionConfig, not Other"),
        ("<!DOCTYPE x><DistributionConfig/>", "document type"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><DistributionConfig>&a;</DistributionConfig>', "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><DistributionConfig/>', "document type"),
        ("<DistributionConfig><Nonsense/></DistributionConfig>", "DistributionConfig.Nonsense is not known"),
        ('<DistributionConfig xmlns="urn:other"/>', "namespace"),
        ("<DistributionConfig>text</DistributionConfig>", "holds text where elements are expected"),
        ("<DistributionConfig><Enabled>yes</Enabled></DistributionConfig>", "Enabled must be of type boolean"),
        ("<DistributionConfig><Enabled/></DistributionConfig>", "Enabled must be of type boolean"),
        ("<DistributionConfig><Comment><b/></Comment></DistributionConfig>", "holds b where a value is expected"),
        ("<DistributionConfig><Comment>a</Comment><Comment>b</Comment></DistributionConfig>", "more than once"),
        ("<DistributionConfig>" * 70 + "</DistributionConfig>" * 70, "nested deeper"),
    ],
)
def test_what_is_not_a_request_is_refused_and_named(body: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode(body)
    assert refused.value.code == "MalformedXML" and message in refused.value.message


@pytest.mark.parametrize("number", ["", "x", "1.0", "1_0", "0x1", "٣", "2147483648", "-2147483649", "9" * 5000])
def test_a_number_is_a_number(number: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode(batch(f"<Paths><Quantity>{number}</Quantity></Paths>"), INVALIDATE)
    assert refused.value.code == "MalformedXML" and "Paths.Quantity must be of type integer" in refused.value.message


def test_numbers_to_the_ends_of_their_range() -> None:
    for number in (2147483647, -2147483648):
        body = batch(f"<Paths><Quantity> {number} </Quantity></Paths>")
        assert decode(body, INVALIDATE)["InvalidationBatch"]["Paths"]["Quantity"] == number


def test_the_namespace_may_be_left_out_and_a_prefix_may_be_used() -> None:
    reference = {"CallerReference": "r"}
    assert decode(batch("<CallerReference>r</CallerReference>", ""), INVALIDATE)["InvalidationBatch"] == reference
    prefixed = (
        f'<a:InvalidationBatch xmlns:a="{NAMESPACE}"><a:CallerReference>r</a:CallerReference></a:InvalidationBatch>'
    )
    assert decode(prefixed, INVALIDATE)["InvalidationBatch"] == reference


def test_a_missing_body_says_what_it_must_hold() -> None:
    with pytest.raises(ApiError) as refused:
        decode("")
    assert refused.value.code == "MissingBody" and "DistributionConfig" in refused.value.message


def test_required_members_enumerations_and_lengths_are_checked_together() -> None:
    with pytest.raises(ApiError) as refused:
        validate(
            CREATE,
            {
                "DistributionConfig": {
                    "CallerReference": "r",
                    "HttpVersion": "http9",
                    "Origins": {"Quantity": 0, "Items": []},
                }
            },
        )
    assert refused.value.code == "InvalidArgument"
    for expected in (
        "DistributionConfig.Comment is required.",
        "DistributionConfig.Enabled is required.",
        "DistributionConfig.HttpVersion must be one of",
        "DistributionConfig.Origins.Items must hold at least 1 items, not 0.",
    ):
        assert expected in refused.value.message


def test_an_error_is_what_a_client_makes_an_exception_of() -> None:
    body = encode_error("NoSuchDistribution", "no <such> & thing\r\n\x01", 404, "id-1")
    raw = {"status_code": 404, "headers": {}, "body": body}
    parsed = RestXMLParser().parse(raw, MODEL.operation_model("GetDistribution").output_shape)
    assert parsed["Error"] == {"Type": "Sender", "Code": "NoSuchDistribution", "Message": "no <such> & thing\r\n\ufffd"}
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"
    assert b"<Type>Receiver</Type>" in encode_error("InternalFailure", "", 500, "id-2")
