"""Viewers of conversations that share one connection of many streams, each conversation on a stream of its own: what every test finds when viewers speak HTTP/2."""

import asyncio
from weakref import WeakKeyDictionary

from edge_node.delivery.downstream import DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.http import RequestHead
from tests.conversations.dialogue import Answer, Node, Viewer, answer_of
from tests.fuzz.strict_frames import CONNECTION, Data, Ended, Frame, Reset, StreamEnd, StreamResponse
from tests.multiplexed import MultiplexedConnection, MultiplexedStream

_connections: "WeakKeyDictionary[Node, MultiplexedConnection]" = WeakKeyDictionary()


def connection_to(node: Node) -> MultiplexedConnection:
    """The one that all viewers of a node share."""
    return _connections.setdefault(node, MultiplexedConnection(node.facts))


class MultiplexedViewer(Viewer):
    """One after another on streams of a shared connection. Credit comes back a turn of the loop after the bytes, unless the viewer holds."""

    def __init__(self, node: Node, connection: MultiplexedConnection | None = None) -> None:
        super().__init__(node)
        self.connection = connection or connection_to(node)
        self.stream: MultiplexedStream | None = None
        self._is_holding = False
        self._held_back = 0
        """Credit of the stream that it does not give now."""

    def opens(self, head: RequestHead, body: RequestBodyStream | None = None) -> DownstreamStream:
        del body  # the request's
        self.head = head
        self.is_done = False
        self._held_back = 0
        self.stream = self.connection.opens(head.method, self._hears)
        if self._is_holding:
            self.holds()
        return self.stream

    def leaves(self) -> None:
        self.is_open = False
        if self.stream is not None:
            self.stream.leaves()

    def holds(self) -> None:
        """It takes back what it has promised (RFC 9113 section 6.9.2): nothing more can come on this stream."""
        self._is_holding = True
        if self.stream is not None:
            self._held_back += self.stream.credit
            self.connection.gives_credit(self.stream.id, -self.stream.credit)

    def takes_more(self) -> None:
        self._is_holding = False
        if self.stream is not None:
            given, self._held_back = self._held_back, 0
            self.connection.gives_credit(self.stream.id, given)

    def judge(self) -> None:
        """The frames of all streams of the connection: what they may say depends on each other's credit."""
        self.connection.responses()

    def read(self) -> Answer | None:
        response = self._response()
        if response is None or not response.status:
            return None
        interims = [(interim.status, interim.fields) for interim in response.interims]
        is_whole = response.end is StreamEnd.WHOLE
        return answer_of(response.status, response.fields, bytes(response.body), is_whole=is_whole, interims=interims)

    @property
    def has_got_nothing(self) -> bool:
        response = self._response()
        return response is None or not (response.status or response.interims or response.end is StreamEnd.WHOLE)

    def _response(self) -> StreamResponse | None:
        return None if self.stream is None else self.connection.responses()[self.stream.id]

    def _hears(self, frame: Frame) -> None:
        match frame:
            case Data(stream=stream, data=data):
                asyncio.get_running_loop().call_soon(self._gives_back, stream, len(data))
            case Ended():
                self.is_done = True
            case Reset():
                self.is_cut = True
                self.is_open = False
            case _:
                pass

    def _gives_back(self, stream: int, count: int) -> None:
        """What was read makes room for more; a stream that holds keeps no other one waiting."""
        self.connection.gives_credit(CONNECTION, count)
        if self._is_holding and self.stream is not None and self.stream.id == stream:
            self._held_back += count
        else:
            self.connection.gives_credit(stream, count)
