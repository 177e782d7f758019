"""A Vite development server with hot reload behind `cdnlab serve`: `make test-vite`. It needs Node.js and npm, which fetches Vite, so it is no part of `make test`."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.typing import Subprotocol

from tests.integration.lab_harness import CommandLine, taken_down
from tests.peers.viewer import get
from tests.peers.websocket import ClientConnection, websocket

pytestmark = [
    pytest.mark.skipif(os.environ.get("CDNLAB_VITE") != "1", reason="needs the network: make test-vite"),
    pytest.mark.skipif(shutil.which("npm") is None or shutil.which("node") is None, reason="needs node and npm"),
    pytest.mark.timeout(300),
]

VITE = "vite@7"
INSTALL_SECONDS = 200
PATIENCE_SECONDS = 30
APPLICATION = "127.15.201.1"
PAGE = '<!doctype html><script type="module" src="/main.js"></script>'
MODULE = "export const word = '%s'\nif (import.meta.hot) import.meta.hot.accept()\n"


def make_application(folder: Path) -> None:
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "application", "private": true, "type": "module"}')
    (folder / "index.html").write_text(PAGE)
    (folder / "main.js").write_text(MODULE % "before")
    install = ("npm", "install", VITE, "--no-audit", "--no-fund")
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)


@asynccontextmanager
async def development_server(folder: Path) -> AsyncIterator[str]:
    """Vite's URL, as soon as it listens."""
    with socket.socket() as probe:
        probe.bind((APPLICATION, 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *("node", "node_modules/vite/bin/vite.js", "--host", APPLICATION, "--port", str(port), "--strictPort"),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"ready in" not in (line := await process.stdout.readline()):
                assert line, "vite ended"
        yield f"http://{APPLICATION}:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def serve(cdnlab: CommandLine, url: str) -> tuple[str, str]:
    """Host of the site, address of an edge."""
    up = cdnlab.run("up", cdnlab.topology(), "--detach")
    assert up.status == 0, up.err
    done = cdnlab.run("serve", url, "--detach")
    assert done.status == 0, done.err
    found = re.search(r"is served at http://([^:/]+)", done.out)
    assert found, done.out
    status = cdnlab.run("status", "--json")
    nodes: list[dict[str, Any]] = json.loads(status.out)["nodes"]
    return found[1], next(node["http"] for node in nodes if node["role"] == "edge")


async def message(viewer: ClientConnection, kind: str) -> dict[str, Any]:
    """The next one of a kind."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            document = json.loads(await viewer.recv())
            if document["type"] == kind:
                assert isinstance(document, dict)
                return document


async def test_an_edit_is_seen_through_the_edge(tmp_path: Path) -> None:
    """As a browser does it: the page, the client and its token from the edge, the WebSocket through it, and the module again after the update."""
    folder = tmp_path / "application"
    make_application(folder)
    async with development_server(folder) as url:
        with taken_down(CommandLine(tmp_path)) as cdnlab:
            host, edge = serve(cdnlab, url)
            page = await get(edge, host, "/", ("Accept", "text/html"))
            assert page.status == 200 and b"/@vite/client" in page.body
            token = re.search(rb'wsToken = "([^"]+)"', (await get(edge, host, "/@vite/client")).body)
            assert token is not None
            assert b"before" in (await get(edge, host, "/main.js")).body
            path = f"/?token={token[1].decode()}"
            protocols = [Subprotocol("vite-hmr")]
            async with websocket(edge, host, path, subprotocols=protocols, origin=f"http://{host}") as viewer:
                await message(viewer, "connected")
                (folder / "main.js").write_text(MODULE % "after")
                (update,) = (await message(viewer, "update"))["updates"]
                assert update["acceptedPath"] == "/main.js"
                again = await get(edge, host, f"/main.js?t={update['timestamp']}")
                assert b"after" in again.body
