"""Conversations by chance over a link that is changed under them: what arrives is what was sent, up to where somebody ended it, and nothing is left over."""

import asyncio
import contextlib
import random

from lab.wan.configuration import Bounds
from lab.wan.links import Distribution, Path
from lab.wan.toxics import read_toxic
from tests.integration.lab.wan.wires import NEAR, End, Net, link, net, on_uvloop

CONVERSATIONS = 80
MOST_BYTES = 60_000
TOXICS = [
    {"type": "latency", "attributes": {"latency": 3, "jitter": 3}},
    {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 5_000}},
    {"type": "slicer", "attributes": {"average_size": 700, "size_variation": 600}},
    {"type": "slow_close", "stream": "upstream", "attributes": {"delay": 10}},
]


class Side:
    """One end: says things by chance, and remembers both what it said and what it heard."""

    def __init__(self, end: End, chance: random.Random) -> None:
        self._end = end
        self._chance = chance
        self.said = b""
        self.heard = b""
        self.has_heard_end = self.was_reset = False

    async def speak(self) -> None:
        writer = self._end.writer
        for _ in range(self._chance.randrange(6)):
            data = self._chance.randbytes(self._chance.choice([1, 100, 5_000, MOST_BYTES]))
            if writer.transport.is_closing():
                break
            self.said += data
            writer.write(data)
            with contextlib.suppress(OSError):
                await asyncio.wait_for(writer.drain(), 10)
            await asyncio.sleep(self._chance.choice([0, 0.001, 0.005]))
        if writer.transport.is_closing():
            self.was_reset = True  # by the other side
        elif self._chance.random() < 0.15:
            self._end.reset()
            self.was_reset = True
        else:
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def listen(self) -> None:
        reader = self._end.reader
        with contextlib.suppress(OSError):
            while data := await asyncio.wait_for(reader.read(self._chance.choice([10, 65_536])), 10):
                self.heard += data
            self.has_heard_end = not self.was_reset


async def converse(pair: tuple[End, End], chance: random.Random) -> None:
    client, server = (Side(end, chance) for end in pair)
    await asyncio.gather(client.speak(), server.speak(), client.listen(), server.listen())
    is_clean = not (client.was_reset or server.was_reset)
    for hearer, speaker in (client, server), (server, client):
        assert speaker.said.startswith(hearer.heard)
        if is_clean:
            assert hearer.heard == speaker.said and hearer.has_heard_end
    for side in client, server:
        side._end.writer.close()


async def change(it: Net, chance: random.Random) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(0.01)
        path = Path(
            chance.choice([0.0, 0.002]),
            0.0,
            chance.choice(list(Distribution)),
            chance.choice([0.0, 2e7]),
            is_cut=chance.random() < 0.1,
        )
        it.change("near", path, Path(0.001, 0.001))
        toxics = [read_toxic(toxic) for toxic in chance.sample(TOXICS, chance.randrange(3))]
        it.relays.proxies["p"].change_toxics(toxics)


@on_uvloop
async def test_what_arrives_is_what_was_sent_whatever_happens_to_the_link() -> None:
    chance = random.Random(10)
    async with net(link("near", Path(0.001)), bounds=Bounds(window_bytes=70_000, memory_bytes=600_000)) as it:
        changing = asyncio.create_task(change(it, chance))
        try:
            for _ in range(CONVERSATIONS // 10):
                pairs = [await it.pair(NEAR) for _ in range(10)]  # one by one, so that it is known who is whose
                await asyncio.gather(*(converse(pair, random.Random(chance.random())) for pair in pairs))
        finally:
            changing.cancel()
        it.change("near", Path())
        await it.all_gone()
