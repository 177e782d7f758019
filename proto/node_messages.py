"""A node's description as a message, which both ends write: a node in its Hello, the control plane in its directory."""

from typing import Protocol

from proto.cdn.v1 import sync_pb2


class DescribedNode(Protocol):
    """Who a node is; `role` is a value of sync_pb2.Role."""

    @property
    def identifier(self) -> str:
        """Its id."""

    @property
    def role(self) -> int:
        """Edge, regional or router."""

    @property
    def region(self) -> str:
        """Of its place."""

    @property
    def pop(self) -> str:
        """Empty for a node that is in none."""

    @property
    def http_address(self) -> str:
        """Of viewers and other nodes."""

    @property
    def admin_address(self) -> str:
        """Of operators."""


def to_node(node: DescribedNode) -> sync_pb2.Node:
    """The message."""
    return sync_pb2.Node(
        id=node.identifier,
        role=sync_pb2.Role.ValueType(node.role),
        region=node.region,
        pop=node.pop,
        http_address=node.http_address,
        admin_address=node.admin_address,
    )
