"""A Docker engine that behaves as badly as a real one can: over HTTP on loopback, as the SDK speaks to it.

It knows containers, networks and volumes by their labels, and changes them as they are asked; beside that it can be told to refuse (409, 404, 500),
to be slow, to be gone, and to remove only at the second time of asking.
"""

import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

HOST = "127.15.251.1"
_STATES = {"start": "running", "stop": "exited", "kill": "exited", "pause": "paused", "unpause": "running"}
_NEEDS = {"kill": "running", "pause": "running"}


@dataclass
class FakeContainer:
    name: str
    labels: dict[str, str]
    state: str = "running"
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeEngine:
    """What there is, and how it misbehaves. `refusals`: status by the end of a path, each used once for every time that it is there."""

    containers: dict[str, FakeContainer] = field(default_factory=dict)
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    subnets: dict[str, str] = field(default_factory=dict)
    """Of networks that have a fixed one."""
    refusals: dict[str, list[int]] = field(default_factory=dict)
    delay_seconds: float = 0.0
    is_gone: bool = False
    """Every connection ends without an answer."""
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        time.sleep(self.delay_seconds)
        for end, statuses in self.refusals.items():
            if path.endswith(end) and statuses:
                return statuses.pop(0), {"message": f"refused: {path}"}
        match [method, *path.strip("/").split("/")]:
            case ["GET", "containers", "json"]:
                return 200, [{"Id": each.name} for each in self._selected(self.containers, query)]
            case ["GET", "containers", name, "json"] if name in self.containers:
                return 200, _described(self.containers[name])
            case ["GET", "containers", name, "logs"] if name in self.containers:
                return 200, None
            case ["GET", kind] if kind in ("networks", "volumes"):
                return 200, self._things(kind, query)
            case ["DELETE", kind, name] if name in vars(self).get(kind, {}):
                del vars(self)[kind][name]
                return 204, None
            case ["POST", "containers", name, act] if name in self.containers:
                return self._act(self.containers[name], act)
        return 404, {"message": f"no such thing: {path}"}

    def _act(self, container: FakeContainer, act: str) -> tuple[int, Any]:
        if act == "wait":
            return 200, {"StatusCode": 137}
        if _NEEDS.get(act, container.state) != container.state:
            return 409, {"message": f"container {container.name} is not running"}
        container.state = _STATES[act]
        return 204, None

    def _things(self, kind: str, query: dict[str, list[str]]) -> Any:
        wanted = _wanted(query)
        found = [name for name, labels in vars(self)[kind].items() if _has(labels, wanted)]
        listed = [{"Id": name, "Name": name, "Labels": vars(self)[kind][name], **self._ipam(name)} for name in found]
        return {"Volumes": listed} if kind == "volumes" else listed

    def _ipam(self, name: str) -> dict[str, Any]:
        return (
            {"IPAM": {"Config": [{"Subnet": self.subnets[name]}]}}
            if name in self.subnets
            else {"IPAM": {"Config": None}}
        )

    def _selected(self, containers: dict[str, FakeContainer], query: dict[str, list[str]]) -> Iterator[FakeContainer]:
        wanted = _wanted(query)
        return (each for each in containers.values() if _has(each.labels, wanted))


def _wanted(query: dict[str, list[str]]) -> list[str]:
    filters: dict[str, list[str]] = json.loads(query.get("filters", ["{}"])[0])
    return filters.get("label", [])


def _has(labels: dict[str, str], wanted: list[str]) -> bool:
    return all(
        (labels.get(name) == value) if is_value else name in labels for name, is_value, value in map(_split, wanted)
    )


def _split(label: str) -> tuple[str, str, str]:
    return label.partition("=")


def _described(container: FakeContainer) -> dict[str, Any]:
    return {
        "Id": container.name,
        "Name": f"/{container.name}",
        "Config": {"Labels": container.labels, "Tty": False, **container.attributes.get("Config", {})},
        "State": {"Status": container.state, "Running": container.state in ("running", "paused")},
        "NetworkSettings": container.attributes.get("NetworkSettings", {}),
    }


@contextmanager
def running_engine(engine: FakeEngine) -> Iterator[str]:
    """Its address, for DOCKER_HOST."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            if engine.is_gone:
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urllib.parse.urlsplit(self.path)
            path = url.path.partition("/v1.")[2].partition("/")[2] if url.path.startswith("/v1.") else url.path
            if path.strip("/") == "version":
                status, document = 200, {"ApiVersion": "1.43"}
            else:
                status, document = engine.answer(self.command, f"/{path.strip('/')}", urllib.parse.parse_qs(url.query))
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Silent."""

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"tcp://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
