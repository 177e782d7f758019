"""The relays as they are run: `python -m lab.wan`, from a file, until a signal."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 20.0


def command(file: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "lab.wan", "--config", str(file), *flags]


@contextlib.contextmanager
def running(file: Path, configuration: dict[str, Any]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address of its API, and the process."""
    file.write_text(json.dumps(configuration))
    process = subprocess.Popen(command(file), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " API on " in line, line + process.stderr.read()
        yield line.rpartition(" ")[2].strip(), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_SECONDS)


def ask(address: str, path: str, method: str = "GET", document: object = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of one exchange with the API."""
    connection = http.client.HTTPConnection(address, timeout=START_SECONDS)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    return response.status, json.loads(content) if content[:1] in (b"{", b"[") else content


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.002)
