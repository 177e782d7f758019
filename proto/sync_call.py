"""What a node's session needs of a call of ControlPlane.Sync; gRPC's own calls have it."""

from typing import Protocol

from proto.cdn.v1 import sync_pb2


class SyncCall(Protocol):
    """One stream, seen from the node. Every method may raise grpc.aio.AioRpcError or OSError, and then the stream is over."""

    async def read(self) -> object:
        """The next ControlMessage; anything else is the end of the stream."""

    async def write(self, request: sync_pb2.NodeMessage) -> None:
        """Returns when there is room for the next one."""

    async def done_writing(self) -> None:
        """Nothing more is said."""
