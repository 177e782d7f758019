"""Nodes are asked to record, again and again, whatever becomes of some of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.history.raw_files import RunGoesOnError, held, raw_folder
from lab.history.recording import RecordedNode, Recording, collect, recorded
from proto.history_lease import HistoryLease
from proto.history_recorder import RECORDING_FILE


class ScriptedNode:
    """An admin port that notes what it is asked, and answers with one status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[tuple[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")), 0)
        run = json.loads(await reader.readexactly(length))["run"] if length else ""
        self.asked.append((head.partition(" ")[0], run))
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nfull" % self.status)
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_run_begins_and_ends_with_one_name_and_a_dead_node_is_only_silent(tmp_path: Path) -> None:
    node = ScriptedNode()
    async with node.listening() as address:
        nodes = [RecordedNode("edge-1", address), RecordedNode("edge-2", "127.0.0.1:1")]
        async with recorded(nodes, tmp_path) as recording:
            assert recording.silent == {"edge-2"}
            with pytest.raises(RunGoesOnError), held(tmp_path):
                pass
    assert node.asked == [("POST", recording.name), ("DELETE", "")]


async def test_a_node_that_refuses_is_said_before_the_run_begins(tmp_path: Path) -> None:
    node = ScriptedNode(503)
    async with node.listening() as address:
        with pytest.raises(LabError, match="edge-1 does not record the run: status 503, full"):
            async with recorded([RecordedNode("edge-1", address)], tmp_path):
                pass


async def test_a_node_that_refuses_later_is_noted() -> None:
    node = ScriptedNode()
    async with node.listening() as address:
        recording = Recording([RecordedNode("edge-1", address)], "r")
        await recording.begin()
        node.status = 503
        await recording.end()
    assert list(recording.refusals) == ["edge-1"]


async def test_without_any_node_that_answers_there_is_no_run() -> None:
    with pytest.raises(LabError, match="no node answers"):
        await Recording([RecordedNode("edge-1", "127.0.0.1:1")], "r").begin()


def test_what_is_of_another_recording_is_not_collected(tmp_path: Path) -> None:
    def fetch(node: str, folder: Path) -> None:
        if node == "gone":
            raise LabError("gone: its container is gone")
        if node != "silent":
            (folder / RECORDING_FILE).write_bytes(HistoryLease(node, "boot", 0).encode())
        (folder / "served.tsv").write_text("node\n")

    problems = collect(tmp_path, "this", ["this", "that", "silent", "gone"], fetch)
    assert problems == [
        "that has recorded nothing of this run", "silent has recorded nothing of this run", "gone: its container is gone"
    ]  # fmt: skip
    assert [path.name for path in raw_folder(tmp_path).iterdir()] == ["this"]
    assert [path.name for path in (raw_folder(tmp_path) / "this").iterdir()] == ["served.tsv"]
