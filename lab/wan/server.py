"""The process: relays and their control API, from a configuration to a signal."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator
from typing import Final

from lab.api_server import ApiServer
from lab.clients.http_client import split_address
from lab.wan.configuration import Bounds, Configuration
from lab.wan.relays import RelayError, Relays
from lab.wan.toxiproxy_api import ToxiproxyApi
from proto.descriptor_limit import raise_descriptor_limit

logger = logging.getLogger("wan")

OWN_DESCRIPTORS: Final = 1_024
"""Listening sockets, the control API, the self-test."""
DESCRIPTORS_A_CONNECTION: Final = 2
MOST_CLIENTS: Final = 128
IDLE_SECONDS: Final = 30
"""Of the API: tests ask again and again."""


def raise_limit(bounds: Bounds) -> None:
    """Of file descriptors, for as many connections and flows as may be; a warning when that is not to be had."""
    wanted = OWN_DESCRIPTORS + DESCRIPTORS_A_CONNECTION * bounds.connections + bounds.flows
    allowed = raise_descriptor_limit(wanted)
    if allowed < wanted:
        logger.warning(
            "%d file descriptors are wanted and %d allowed: fewer connections than bounds say", wanted, allowed
        )


@contextlib.asynccontextmanager
async def relaying(configuration: Configuration) -> AsyncIterator[Relays]:
    """Relays at work until the block ends. RelayError when an address cannot be had."""
    async with asyncio.TaskGroup() as tasks:
        relays = Relays(configuration, tasks, time.monotonic)
        try:
            await relays.start()
            yield relays
        finally:
            relays.close()


@contextlib.asynccontextmanager
async def serving(relays: Relays) -> AsyncIterator[str]:
    """The control API until the block ends; its address."""
    host, port = split_address(relays.configuration.api)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(MOST_CLIENTS)  # whoever comes before the server has started waits
        except OSError as error:
            raise RelayError(f"cannot listen on {relays.configuration.api}: {error}") from error
        server = ApiServer(ToxiproxyApi(relays, host).application(), MOST_CLIENTS, IDLE_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            served = tasks.create_task(server.serve(sockets=[listening]))
            try:
                yield f"{host}:{listening.getsockname()[1]}"
            finally:
                server.leave()
                await served
    finally:
        listening.close()
