"""The self-test against links that are not what they say: each is named. That no other one is, tests/unit/lab/wan/test_judgement.py has."""

import dataclasses

from lab.wan.check import check_links
from lab.wan.links import Path
from tests.integration.lab.wan.wires import Net, link, net, on_uvloop

ASKED = Path(0.01)


def plant(it: Net, place: str, forward: Path) -> None:
    """The path is another one, and the link does not know."""
    it.relays.network.links[f"{place}--here"].forward.queue.path = forward


async def named(it: Net) -> set[tuple[str, str, str]]:
    return {(each.link, each.direction, each.what) for each in await check_links(it.relays) if each.is_off}


@on_uvloop
async def test_a_delay_that_is_off_is_named() -> None:
    async with net(link("near", ASKED), link("far", ASKED)) as it:
        plant(it, "near", dataclasses.replace(ASKED, delay_seconds=0.03))
        off = await named(it)  # a busy machine may be named as well: that is what it is for
        assert {("near--here", "forward", "delay"), ("near--here", "both", "handshake")} <= off


@on_uvloop
async def test_a_bandwidth_that_is_off_is_named() -> None:
    asked = Path(0.002, bytes_per_second=2e6)
    async with net(link("near", asked), link("far", asked)) as it:
        plant(it, "far", dataclasses.replace(asked, bytes_per_second=1.2e6))
        assert ("far--here", "forward", "bandwidth") in await named(it)


@on_uvloop
async def test_a_loss_that_does_not_happen_is_named() -> None:
    asked = Path(0.001, loss=0.2)
    async with net(link("near", asked, Path(0.001))) as it:
        plant(it, "near", Path(0.001))
        assert ("near--here", "forward", "loss") in await named(it)


@on_uvloop
async def test_a_cut_is_named_and_nothing_is_left_of_the_self_test() -> None:
    async with net(link("near", Path(is_cut=True)), link("far", Path())) as it:
        assert ("near--here", "forward", "delay") in await named(it)
        assert it.relays.counters.flows == 0 and set(it.relays.proxies) == {"p"}
        await it.all_gone()
