"""What the product's shells run on in the simulation behaves as the real thing does: an event loop, and calls of grpc.aio."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import grpc
import grpc.aio
import pytest

from control_plane.grpc_calls import Call
from control_plane.grpc_wire import Status
from proto.cdn.v1 import sync_pb2
from tests.simulation.plan import PLANE
from tests.simulation.planted_shells import PLANTED_AT_REST
from tests.simulation.scenario import Parts
from tests.simulation.search import runs
from tests.simulation.session import Process
from tests.simulation.virtual_calls import Connection, NodeEnd
from tests.simulation.virtual_channel import Channel
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Network, World

NODE = "node"
AT_REST_SEEDS = range(14, 60)
"""The first of them shows it."""
BEAT = sync_pb2.NodeMessage(heartbeat=sync_pb2.Heartbeat(sequence=1))
LEASE = sync_pb2.ControlMessage(lease=sync_pb2.Lease(sequence=1))


class Address:
    """Who serves calls; see virtual_calls.Listener. It notes what it hears, and answers nothing by itself."""

    stall_probability = 0.0

    def __init__(self, world: World, network: Network) -> None:
        self.loop: VirtualLoop | None = VirtualLoop(world, network, PLANE)
        self.call: Call | None = None
        self.heard: list[str] = []

    def serve(self, call: Call) -> "Address":
        self.call = call
        return self

    def accepted(self, connection: Connection) -> None:
        """It has."""

    def closed(self, connection: Connection) -> None:
        """It was."""

    def message_received(self, data: bytes) -> None:
        self.heard.append(sync_pb2.NodeMessage.FromString(data).WhichOneof("kind") or "nothing")

    def half_closed(self) -> None:
        self.heard.append("half closed")

    def writable(self) -> None:
        self.heard.append("writable")

    def broken(self) -> None:
        self.heard.append("broken")


class Setting:
    """A node, a control plane and a connection between them."""

    def __init__(self) -> None:
        self.world = World(0)
        self.network = Network(self.world)
        self.process = Process(self.world, self.network, NODE)
        self.process.begin(())
        self.loop = VirtualLoop(self.world, self.network, NODE, self.process.rate)
        self.address = Address(self.world, self.network)
        self.connection = Connection(self.process, self.loop, self.address)
        self.said: list[str] = []

    def converse(self, work: Callable[[NodeEnd], Awaitable[object]]) -> None:
        """Have the node do this with its call, and note how that ends."""

        async def within() -> None:
            async with Channel(self.connection, is_refused=False):
                try:
                    self.said.append(str(await work(self.connection.node)))
                except grpc.aio.AioRpcError as error:
                    self.said.append(error.code().name)
                except asyncio.InvalidStateError:
                    self.said.append("invalid state")

        self.loop.start(within())

    def wait(self, seconds: float = 1.0) -> None:
        self.world.run(self.world.now + seconds)

    def send(self, *messages: sync_pb2.ControlMessage) -> None:
        """By the control plane."""
        assert self.address.call is not None
        for message in messages:
            self.address.call.send(message.SerializeToString())


@pytest.fixture
def setting() -> Iterator[Setting]:
    here = Setting()
    yield here
    here.loop.kill()


async def read(call: NodeEnd) -> object:
    message = await call.read()
    return "the end" if message is grpc.aio.EOF else type(message).__name__


async def read_twice(call: NodeEnd) -> object:
    return [await read(call), await read(call)]


def test_timers_ring_in_order_by_the_clock_of_the_process_and_never_early(setting: Setting) -> None:
    loop, heard = setting.loop, []

    async def sleep(seconds: float) -> None:
        due_at = loop.time() + seconds
        await asyncio.sleep(seconds)
        assert due_at <= loop.time() < due_at + 0.05
        heard.append(seconds)

    for seconds in (0.3, 0.1, 0.2):
        loop.start(sleep(seconds))
    setting.wait()
    assert heard == [0.1, 0.2, 0.3]


def test_a_process_that_stands_still_does_what_was_due_when_it_goes_on(setting: Setting) -> None:
    heard: list[float] = []

    async def sleep() -> None:
        await asyncio.sleep(0.1)
        heard.append(setting.world.now)

    setting.loop.start(sleep())
    setting.network.stand_still(NODE)
    setting.wait()
    assert heard == []
    setting.network.go_on(NODE)
    assert heard == [setting.world.now]


def test_of_a_killed_process_nothing_is_left_and_nothing_is_heard(setting: Setting) -> None:
    ended: list[str] = []

    async def work(call: NodeEnd) -> None:
        try:
            async with asyncio.timeout(5.0):
                await call.read()
        finally:
            call.cancel()
            ended.append("ended")

    setting.converse(work)
    setting.wait()
    setting.loop.kill()
    setting.wait()
    assert (ended, setting.said, setting.address.heard) == (["ended"], [], [])


def test_what_a_task_raises_ends_the_simulation(setting: Setting) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    setting.loop.start(fail())
    with pytest.raises(ZeroDivisionError):
        setting.wait()


def test_messages_go_both_ways_and_a_status_comes_after_them(setting: Setting) -> None:
    async def work(call: NodeEnd) -> object:
        await call.write(BEAT)
        return await read_twice(call)

    setting.converse(work)
    setting.wait()
    setting.send(LEASE)
    assert setting.address.call is not None
    setting.address.call.finish(Status.OK)
    setting.wait()
    assert setting.said == ["['ControlMessage', 'the end']"]
    assert setting.address.heard == ["heartbeat"]


def test_a_status_that_is_not_ok_is_an_error(setting: Setting) -> None:
    setting.converse(read)
    setting.wait()
    assert setting.address.call is not None
    setting.address.call.finish(Status.ABORTED, "elsewhere")
    setting.wait()
    assert setting.said == ["ABORTED"]


def test_a_connection_that_breaks_is_news_to_both_ends(setting: Setting) -> None:
    setting.converse(read)
    setting.wait()
    setting.connection.break_off()
    setting.wait()
    assert (setting.said, setting.address.heard) == (["UNAVAILABLE"], ["broken"])


def test_a_half_open_connection_says_nothing(setting: Setting) -> None:
    setting.converse(read)
    setting.wait()
    setting.connection.silence(both_ways=True)
    setting.send(LEASE)
    setting.connection.break_off()
    setting.wait()
    assert (setting.said, setting.address.heard) == ([], [])


def test_where_nobody_listens_nothing_can_be_opened(setting: Setting) -> None:
    setting.address.loop = None
    setting.converse(read)
    setting.wait(3.0)
    assert setting.said == ["UNAVAILABLE"]


def test_a_way_that_is_cut_ends_the_attempt(setting: Setting) -> None:
    setting.network.cut([(PLANE, NODE)], 10.0)
    setting.converse(read)
    setting.wait(3.0)
    assert (setting.said, setting.address.call) == (["UNAVAILABLE"], None)


def test_a_node_that_writes_waits_for_room(setting: Setting) -> None:
    written: list[int] = []
    setting.connection.window = 2

    async def work(call: NodeEnd) -> None:
        for number in range(4):
            await call.write(BEAT)
            written.append(number)
        await call.done_writing()

    setting.converse(work)
    setting.network.stand_still(PLANE)
    setting.wait(0.5)
    assert written == []
    setting.network.go_on(PLANE)
    setting.wait(0.02)
    setting.network.stand_still(PLANE)
    setting.wait(0.5)
    assert written == [0, 1]
    setting.network.go_on(PLANE)
    setting.wait(0.5)
    assert setting.address.heard == [*4 * ["heartbeat"], "half closed", "broken"]


def test_a_control_plane_hears_that_there_is_room_again(setting: Setting) -> None:
    setting.connection.window = 2
    setting.converse(read_twice)
    setting.wait()
    call = setting.address.call
    assert call is not None
    setting.network.stand_still(NODE)
    for _ in range(2):
        assert call.is_writable
        setting.send(LEASE)
    setting.wait()
    assert not call.is_writable
    setting.network.go_on(NODE)
    assert "writable" in setting.address.heard and call.is_writable


def test_a_call_that_is_over_takes_nothing_more(setting: Setting) -> None:
    async def work(call: NodeEnd) -> None:
        call.cancel()
        await call.write(BEAT)

    setting.converse(work)
    setting.wait()
    assert setting.said == ["invalid state"]


@pytest.mark.parametrize("bug", PLANTED_AT_REST)
def test_what_keeps_nodes_behind_shows_when_the_faults_are_over(bug: str) -> None:
    of_seeds = (simulation.come_to_rest() for simulation in runs(AT_REST_SEEDS, Parts(shells=PLANTED_AT_REST[bug])))
    problems = next(filter(None, of_seeds), [])
    assert any("is not at the head" in problem for problem in problems)
