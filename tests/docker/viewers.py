"""A viewer: a container on the network of a region's population and on no other, as compose.yaml connects Locust's viewers."""

from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container

from tests.docker.compose_lab import PROJECT, address_in, ask_in

PLACES = ("us-east-1", "eu-central-1", "ap-northeast-1")
ROUTER = "10.77.253.11"
"""Where a relay listens for dns-1: viewers everywhere are told the same."""


@dataclass(frozen=True, slots=True)
class Response:
    address: str
    status: int
    headers: dict[str, str]
    body: str
    failed_addresses: tuple[str, ...]


class Viewer:
    """Stays until `remove`; every question is one process in its container."""

    def __init__(self, engine: docker.DockerClient, region: str) -> None:
        self.region = region
        self._container: Container = engine.containers.create(
            "cdnlab",
            ["python", "-c", "import signal; signal.pause()"],
            name=f"{PROJECT}-viewer-{region}",
            # `docker compose down --remove-orphans` takes it along if the test run dies.
            labels={"com.docker.compose.project": PROJECT, "com.docker.compose.service": f"viewer-{region}"},
            network=f"{PROJECT}_viewers-{region}",
            dns=[ROUTER],
            init=True,
        )
        self._container.start()

    @property
    def address(self) -> str:
        """By which everybody knows it."""
        self._container.reload()
        return address_in(self._container, f"viewers-{self.region}")

    @property
    def container(self) -> Container:
        return self._container

    def resolve(self, name: str) -> list[str]:
        answer: list[str] = ask_in(self._container, do="resolve", name=name)
        return answer

    def get(self, name: str, path: str) -> Response:
        return _response(ask_in(self._container, do="get", name=name, path=path))

    def get_from(self, address: str, name: str, path: str) -> Response:
        """From this edge, whatever the name's answer says."""
        host = f"{name}:8080"
        question = {"address": address, "port": 8080, "path": path, "host": host, "method": "GET"}
        return _response(ask_in(self._container, do="request", body=None, headers={}, **question))

    def connect(self, host: str, port: int) -> str:
        return str(ask_in(self._container, do="connect", host=host, port=port))

    def connect_each(self, targets: list[tuple[str, int]], seconds: float) -> list[str]:
        found: list[str] = ask_in(self._container, do="connect_each", targets=targets, seconds=seconds)
        return found

    def answer_each(self, targets: list[tuple[str, int]]) -> list[str]:
        found: list[str] = ask_in(self._container, do="answer_each", targets=targets)
        return found

    def time_first_byte(self, address: str, name: str, path: str, times: int) -> list[float]:
        """Seconds, each over a connection of its own."""
        question = {"address": address, "port": 8080, "path": path, "host": f"{name}:8080", "times": times}
        found: list[float] = ask_in(self._container, do="time_first_byte", **question)
        return found

    def remove(self) -> None:
        self._container.remove(force=True, v=True)


def _response(answer: dict[str, Any]) -> Response:
    failed = tuple(answer.get("failed_addresses", ()))
    return Response(answer["address"], answer["status"], answer["headers"], answer["body"], failed)
