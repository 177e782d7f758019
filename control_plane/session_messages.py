"""What nodes say on a stream, and what they are told of leases: between the messages of cdn.v1.ControlPlane and values. A hello is judged here, for whoever serves it
(`sync.py`, `relay.py`). Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from control_plane.admission import Admission
from control_plane.coordination import LeaseAnswer
from control_plane.grpc_wire import Status
from control_plane.leases import Granted, Refused
from control_plane.nodes import SET_ASIDE_MARK, NodeDescription, Rejection, Resource, ResourceKind, Role
from proto.cdn.v1 import sync_pb2
from proto.process_identity import MOST_PREDECESSORS, ProcessIdentity

METHOD: Final = f"/{sync_pb2.DESCRIPTOR.services_by_name['ControlPlane'].full_name}/Sync"

HELLO_SECONDS = 5.0
"""How long a connection may stay anonymous."""

NO_HELLO = "the first message must be Hello"

MAXIMUM_IDENTIFIER_LENGTH = 128
MAXIMUM_REASON_LENGTH = 1024
MAXIMUM_TEXT_LENGTH = 512
"""Of its place and its addresses, each."""

_POSITIVE = 2**63 - 1
"""What a column of the database holds."""

_ROLES = frozenset(int(role) for role in Role)


class StreamEndedError(Exception):
    """The stream is over; the message says why, and the status what the node is told."""

    def __init__(self, reason: str, status: Status = Status.OK) -> None:
        super().__init__(reason)
        self.status = status


def read_message(data: bytes) -> sync_pb2.NodeMessage:
    """What a node says. StreamEndedError for what is no message."""
    try:
        return sync_pb2.NodeMessage.FromString(data)
    except DecodeError as error:
        raise StreamEndedError("the message is none of cdn.v1.NodeMessage", Status.INVALID_ARGUMENT) from error


def introduced(
    message: sync_pb2.NodeMessage, peer: Mapping[str, Sequence[bytes]], admission: Admission
) -> NodeDescription:
    """Who says hello with the first message. StreamEndedError for whoever may not come in."""
    problem = _problem_with(message)
    if problem is not None:
        raise StreamEndedError(problem, Status.INVALID_ARGUMENT)
    node = _to_description(message.hello.node)
    refusal = admission.why_refused(peer, node)
    if refusal is not None:
        raise StreamEndedError(refusal, Status.PERMISSION_DENIED)
    return node


def _problem_with(message: sync_pb2.NodeMessage) -> str | None:
    if not message.HasField("hello"):
        return NO_HELLO
    node = message.hello.node
    if not 0 < len(node.id) <= MAXIMUM_IDENTIFIER_LENGTH:
        return f"the node needs an id of 1 to {MAXIMUM_IDENTIFIER_LENGTH} characters"
    if SET_ASIDE_MARK in node.id:
        return f"the id of a node has no {SET_ASIDE_MARK!r} in it: {node.id}"
    if int(node.role) not in _ROLES:
        return f"the role {node.role} is unknown"
    for said in (node.id, node.region, node.pop, node.http_address, node.admin_address):
        if len(said) > MAXIMUM_TEXT_LENGTH or not said.isprintable():  # a database does not take every character
            return f"what the node says of itself must be printable, and {MAXIMUM_TEXT_LENGTH} characters at most"
    return None


def _to_description(node: sync_pb2.Node) -> NodeDescription:
    return NodeDescription(node.id, Role(node.role), node.region, node.pop, node.http_address, node.admin_address)


def to_process(hello: sync_pb2.Hello) -> ProcessIdentity:
    """Which process of the node says hello."""
    return ProcessIdentity(hello.process & _POSITIVE, tuple(hello.predecessors[:MOST_PREDECESSORS]))


def to_resource(message: sync_pb2.Rejection | sync_pb2.Acceptance) -> Resource:
    """Which one it is about."""
    return Resource(ResourceKind.of(int(message.kind)), message.id[:MAXIMUM_IDENTIFIER_LENGTH])


def to_rejection(message: sync_pb2.Rejection) -> Rejection:
    """With a bound on the reason."""
    return Rejection(to_resource(message), message.index, message.reason[:MAXIMUM_REASON_LENGTH])


def lease_frame(answer: LeaseAnswer) -> bytes:
    """A serialized ControlMessage."""
    lease = sync_pb2.Lease(sequence=answer.sequence, head_index=answer.head_index)
    match answer.decision:
        case Granted(_, duration_seconds):
            lease.is_granted = True
            lease.duration_milliseconds = round(duration_seconds * 1000)
        case Refused(reason):
            lease.reason = reason
    return sync_pb2.ControlMessage(lease=lease).SerializeToString()
