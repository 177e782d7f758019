"""Requests to parameters and results to responses, for every operation of the model: REST-XML with the roles of botocore's client swapped.

Stricter than a client has to be: an element that the model does not know is refused, not skipped, because a setting that is silently dropped is worse than none.
The shapes come from the model; `tests/unit/control_plane/aws_api/test_codec.py` holds this against botocore's own serializer and parser in both directions,
for every operation.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.utils import parse_timestamp

from control_plane.aws_api import xml
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.model import NAMESPACE

Parameters = dict[str, Any]

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_BITS = {"integer": 32, "long": 64}


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request whose operation is known. Header names are lower case."""

    labels: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class WireResponse:
    """What goes back; a body is XML unless the model says that it is a blob."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# Requests


def decode_request(operation: OperationModel, request: WireRequest) -> Parameters:
    """The parameters, typed as the model says; ApiError names the first element that does not fit."""
    shape = operation.input_shape
    if shape is None:
        return {}
    sources = {"uri": request.labels, "querystring": request.query, "header": request.headers}
    parameters: Parameters = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if location is not None:
            key = member.serialization.get("name", name)
            value = sources[location].get(key.lower() if location == "header" else key)
            if value is not None:
                parameters[name] = _read_scalar(member, value, key)
    parameters.update(_decode_body(shape, request.body))
    return parameters


def _decode_body(shape: StructureShape, body: bytes) -> Parameters:
    payload = shape.serialization.get("payload")
    if payload is not None:
        member = shape.members[payload]
        if member.type_name == "blob":
            return {payload: body}
        if not body:
            raise ApiError("MissingBody", f"The request has no body; it must hold {_root_name(member)}.")
        return {payload: _read_root(member, body)}
    if body and any("location" not in member.serialization for member in shape.members.values()):
        parameters: Parameters = _read_root(shape, body)
        return parameters
    return {}


def _read_root(shape: Shape, body: bytes) -> Any:
    root = xml.parse(body)
    expected = _root_name(shape)
    if root.name != expected:
        raise ApiError("MalformedXML", f"The body must hold {expected}, not {root.name}.")
    return _read(shape, root, expected)


def _read(shape: Shape, element: xml.Element, path: str) -> Any:
    if element.namespace not in ("", NAMESPACE):
        raise ApiError("MalformedXML", f"{path} is in the namespace {element.namespace}, not {NAMESPACE}.")
    if isinstance(shape, StructureShape):
        return _read_structure(shape, element, path)
    if isinstance(shape, ListShape):
        return _read_list(shape, element, path)
    if element.children:
        raise ApiError("MalformedXML", f"{path} holds {element.children[0].name} where a value is expected.")
    return _read_scalar(shape, element.text, path)


def _read_structure(shape: StructureShape, element: xml.Element, path: str) -> Parameters:
    names = {
        member.serialization.get("name", name): name
        for name, member in shape.members.items()
        if "location" not in member.serialization
    }
    _refuse_text(element, path)
    parameters: Parameters = {}
    for child in element.children:
        name = names.get(child.name)
        if name is None:
            raise ApiError("MalformedXML", f"{path}.{child.name} is not known in this version of the API.")
        if name in parameters:
            raise ApiError("MalformedXML", f"{path}.{child.name} is there more than once.")
        parameters[name] = _read(shape.members[name], child, f"{path}.{child.name}")
    return parameters


def _read_list(shape: ListShape, element: xml.Element, path: str) -> list[Any]:
    expected = shape.member.serialization.get("name", "member")
    _refuse_text(element, path)
    for child in element.children:
        if child.name != expected:
            raise ApiError("MalformedXML", f"{path} must hold {expected}, not {child.name}.")
    return [_read(shape.member, child, f"{path}[{position}]") for position, child in enumerate(element.children)]


def _refuse_text(element: xml.Element, path: str) -> None:
    if element.text.strip():
        raise ApiError("MalformedXML", f"{path} holds text where elements are expected.")


def _read_scalar(shape: Shape, text: str, path: str) -> Any:
    try:
        return _SCALAR_READERS[shape.type_name](shape, text)
    except (ValueError, OverflowError) as error:
        raise ApiError("MalformedXML", f"{path} must be of type {shape.type_name}, not {text[:40]!r}.") from error


def _read_integer(shape: Shape, text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError(text)
    number, limit = int(text), 1 << (_BITS[shape.type_name] - 1)
    if not -limit <= number < limit:
        raise OverflowError(text)
    return number


def _read_boolean(_shape: Shape, text: str) -> bool:
    if text.strip() not in ("true", "false"):
        raise ValueError(text)
    return text.strip() == "true"


def _read_blob(_shape: Shape, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error


_SCALAR_READERS: Mapping[str, Callable[[Shape, str], Any]] = {
    "string": lambda _shape, text: text,
    "integer": _read_integer,
    "long": _read_integer,
    "float": lambda _shape, text: float(text),
    "double": lambda _shape, text: float(text),
    "boolean": _read_boolean,
    "timestamp": lambda _shape, text: parse_timestamp(text),
    "blob": _read_blob,
}


# Responses


def encode_response(operation: OperationModel, result: Parameters) -> WireResponse:
    """What a client's parser reads back as `result`. A member that the model does not know is a KeyError: a mistake of ours."""
    status = int(operation.http.get("responseCode", 200))
    shape = operation.output_shape
    if shape is None:
        return WireResponse(status, {}, b"")
    headers = {}
    in_body: Parameters = {}
    for name, value in result.items():
        member = shape.members[name]
        if member.serialization.get("location") == "header":
            headers[member.serialization.get("name", name)] = _header_text(member, value)
        else:
            in_body[name] = value
    return WireResponse(status, headers, _encode_body(shape, in_body))


def _encode_body(shape: StructureShape, in_body: Parameters) -> bytes:
    payload = shape.serialization.get("payload")
    if payload is None:
        return _document(shape, in_body) if in_body else b""
    if payload not in in_body:
        return b""
    member = shape.members[payload]
    value = in_body[payload]
    return bytes(value) if member.type_name == "blob" else _document(member, value)


def encode_error(code: str, message: str, status: int, request_id: str) -> bytes:
    """The body of an error response (reference 1.2)."""
    at_fault = "Sender" if status < 500 else "Receiver"
    error = f"<Type>{at_fault}</Type><Code>{xml.to_text(code)}</Code><Message>{xml.to_text(message)}</Message>"
    response = f"<Error>{error}</Error><RequestId>{xml.to_text(request_id)}</RequestId>"
    return f'{xml.DECLARATION}<ErrorResponse xmlns="{NAMESPACE}">{response}</ErrorResponse>'.encode()


def _document(shape: Shape, value: Any) -> bytes:
    name = _root_name(shape)
    return f'{xml.DECLARATION}<{name} xmlns="{NAMESPACE}">{_content(shape, value)}</{name}>'.encode()


def _content(shape: Shape, value: Any) -> str:
    if isinstance(shape, StructureShape):
        return "".join(_element(shape.members[name], name, item) for name, item in value.items() if item is not None)
    if isinstance(shape, ListShape):
        return "".join(_element(shape.member, "member", item) for item in value)
    return xml.to_text(_scalar_text(shape, value))


def _element(shape: Shape, default_name: str, value: Any) -> str:
    name = shape.serialization.get("name", default_name)
    return f"<{name}>{_content(shape, value)}</{name}>"


def _scalar_text(shape: Shape, value: Any) -> str:
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return to_iso8601(value)
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def _header_text(shape: Shape, value: Any) -> str:
    return format_datetime(value, usegmt=True) if shape.type_name == "timestamp" else _scalar_text(shape, value)


def to_iso8601(moment: datetime) -> str:
    """For example 2026-11-21T01:02:03.456Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _root_name(shape: Shape) -> str:
    name: str = shape.serialization.get("name") or shape.name
    return name
