"""What is chance at the relays repeats with the seed of their file, proxy by proxy (docs/repeating.md)."""

import asyncio

from lab.wan.configuration import Configuration, Proxy, Transport
from lab.wan.links import Handshake, Path, sample_handshake
from lab.wan.relays import Relays

LOSSY = Path(delay_seconds=0.01, jitter_seconds=0.005, loss=0.3)
PROXIES = ("edge-1", "edge-2")


async def drawn(seed: int | None, *others: str) -> dict[str, list[Handshake]]:
    """How long fifty handshakes over a lossy path take, by proxy; `others` draw between them."""
    made = (*PROXIES, *others)
    proxies = tuple(Proxy(name, "127.0.0.1:0", "127.0.0.1:9", "", Transport.TCP, is_enabled=False) for name in made)
    found: dict[str, list[Handshake]] = {name: [] for name in made}
    async with asyncio.TaskGroup() as tasks:
        relays = Relays(Configuration(proxies=proxies, seed=seed), tasks, asyncio.get_running_loop().time)
        await relays.start()
        for _ in range(50):
            for name in made:
                found[name].append(sample_handshake(LOSSY, LOSSY, relays.proxies[name].context.chance))
        relays.close()
    return {name: found[name] for name in PROXIES}


async def test_losses_and_delays_repeat_whoever_else_there_is() -> None:
    seven = await drawn(7)
    assert seven == await drawn(7) == await drawn(7, "edge-3")
    assert seven["edge-1"] != seven["edge-2"]
    assert (await drawn(8))["edge-1"] != seven["edge-1"]
    assert await drawn(None) != await drawn(None)
