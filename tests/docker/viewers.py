"""A viewer: a container in one place, connected to the other places as compose.yaml connects Locust's viewers."""

from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container

from tests.docker.compose_lab import PROJECT, ask_in

PLACES = ("us-east-1", "eu-central-1", "ap-northeast-1")
ROUTER_IN = {"us-east-1": "10.77.1.53", "eu-central-1": "10.77.2.53", "ap-northeast-1": "10.77.3.53"}


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
            network=f"{PROJECT}_{region}",
            dns=[ROUTER_IN[region]],
            init=True,
        )
        for other in PLACES:
            if other != region:
                engine.networks.get(f"{PROJECT}_{other}").connect(self._container)
        self._container.start()

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

    def remove(self) -> None:
        self._container.remove(force=True, v=True)


def _response(answer: dict[str, Any]) -> Response:
    failed = tuple(answer.get("failed_addresses", ()))
    return Response(answer["address"], answer["status"], answer["headers"], answer["body"], failed)
