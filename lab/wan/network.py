"""Which link joins two places, and at which place an address is."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from lab.wan.configuration import Place, PlaceFinder, Proxy
from lab.wan.cuts import NEITHER, Cut, severed
from lab.wan.links import Link
from lab.wan.running_link import Clock, RunningLink, Way
from lab.wan.toxics import Stream

MOST_REMEMBERED_ADDRESSES: Final = 16_384


class NoLinkError(Exception):
    """An address is at no place, or no link leads from there: nothing is relayed that is not modelled."""


class Network:
    """All links of the process."""

    def __init__(
        self, places: Sequence[Place], links: Iterable[Link], clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.places = places
        self._finder = PlaceFinder(places)
        self._outgoing = {place.name: place.outgoing_address for place in places}
        self._known: dict[str, str | None] = {}
        running = [RunningLink(link, clock, loop) for link in links]
        self.links = {each.link.name: each for each in running}
        self.cuts: dict[str, Cut] = {}
        """By name."""
        self._by_ends = {frozenset(each.link.ends): each for each in running}

    def way(self, address: str, proxy: Proxy) -> Way | None:
        """From a client's address to a proxy's server; None for a server at no place. NoLinkError when nothing leads there."""
        place = proxy.place
        if not place:
            return None
        source = self._client_place(address, proxy)
        link = None if source is None else self._by_ends.get(frozenset((source, place)))
        if link is None or source is None:
            raise NoLinkError(f"there is no link from {address} ({source or 'at no place'}) to {place}")
        return link.way_from(source)

    def severed(self, address: str, proxy: Proxy) -> frozenset[Stream]:
        """In which directions nothing gets through between a client and a proxy, because of a cut of these two."""
        if not self.cuts:
            return NEITHER
        return severed(self.cuts.values(), proxy.name, address, self._client_place(address, proxy) or "")

    def outgoing_address(self, address: str, proxy: Proxy) -> str:
        """From where to connect in the name of this client, which says where it is; empty: from where all do.

        A server at no place is no part of the model, and may know no way back to such an address."""
        place = self._client_place(address, proxy) if proxy.place else None
        return "" if place is None else self._outgoing.get(place, "")

    def _client_place(self, address: str, proxy: Proxy) -> str | None:
        return proxy.client_place or self._place_of(address)

    def _place_of(self, address: str) -> str | None:
        if address not in self._known:
            if len(self._known) >= MOST_REMEMBERED_ADDRESSES:
                self._known.clear()
            self._known[address] = self._finder.find(address)
        return self._known[address]

    def reset(self) -> None:
        """Every link as the file says it, without toxics; no cuts. Whoever relays has to be told of these (Relays.change_cuts)."""
        self.cuts.clear()
        for running in self.links.values():
            if running.toxics:
                running.change_toxics(())
            if running.link != running.configured:
                running.change(running.configured)

    def close(self) -> None:
        """The end of the process."""
        for running in self.links.values():
            running.close()
