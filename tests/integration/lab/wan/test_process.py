"""`python -m lab.wan`: starts, refuses, ends, measures; and what it relays in a lab: an edge's viewers, gRPC."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from lab.wan.configuration import ClientAddress
from lab.wan.links import Path as LinkPath
from tests.integration.lab.wan.wan_process import START_SECONDS, command, running
from tests.integration.lab.wan.wires import HERE, NEAR, PLACES, link, loopback, net
from tests.peers.nodes import EdgeLab
from tests.peers.origin import cacheable
from tests.peers.viewer import Viewer

QUIET: dict[str, Any] = {"api": "127.0.0.1:0"}


def run(file: Path, configuration: object, *flags: str) -> "subprocess.CompletedProcess[str]":
    file.write_text(json.dumps(configuration))
    return subprocess.run(command(file, *flags), capture_output=True, text=True, timeout=START_SECONDS * 2, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_with_connections_open(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server((loopback(HERE), 0)) as server:
        proxy = {"name": "p", "listen": f"{loopback(HERE)}:18997", "upstream": "{}:{}".format(*server.getsockname())}
        with running(tmp_path / "wan.json", {**QUIET, "proxies": [proxy]}) as (_, process):
            host, _, port = proxy["listen"].rpartition(":")
            with socket.create_connection((host, int(port))):
                server.accept()[0].close()
                process.send_signal(number)
                assert process.wait(START_SECONDS) == 0


def test_a_wrong_file_is_exit_status_2_and_all_reasons(tmp_path: Path) -> None:
    done = run(tmp_path / "wan.json", {"api": "x", "unknown": 1})
    assert done.returncode == 2
    assert "api must be" in done.stderr and "unknown key 'unknown'" in done.stderr and "Traceback" not in done.stderr


def test_addresses_that_are_taken_are_told_all_at_once(tmp_path: Path) -> None:
    with socket.create_server((loopback(HERE), 0)) as taken:
        listen = "{}:{}".format(*taken.getsockname())
        proxies = [
            {"name": "a", "listen": listen, "upstream": listen},
            {"name": "b", "listen": "203.0.113.1:80", "upstream": listen},
        ]
        done = run(tmp_path / "wan.json", {**QUIET, "proxies": proxies})
        assert done.returncode == 1 and "a: cannot listen" in done.stderr and "b: cannot listen" in done.stderr
        assert "Traceback" not in done.stderr
        done = run(tmp_path / "wan.json", {"api": listen})
        assert done.returncode == 1 and f"cannot listen on {listen}" in done.stderr and "Traceback" not in done.stderr


def links_file() -> dict[str, Any]:
    places = [{"name": place.name, "networks": list(place.networks)} for place in PLACES]
    good = {"between": ["near", "here"], "delay_ms": 12, "jitter_ms": 1, "bandwidth_mbit": 40, "loss_percent": 1}
    return {**QUIET, "seed": 1, "places": places, "links": [good]}


def test_the_self_test_measures_what_was_asked(tmp_path: Path) -> None:
    tries = (run(tmp_path / "wan.json", links_file(), "--check", "--json") for _ in range(3))
    done = next(each for each in tries if each.returncode == 0)  # a busy machine may be off
    found = {(each["direction"], each["what"]): each["measured"] for each in json.loads(done.stdout)}
    assert found["forward", "delay"] == pytest.approx(12, abs=4)
    assert found["backward", "bandwidth"] == pytest.approx(40, rel=0.3)
    assert len(found) == 7


def test_the_self_test_names_a_link_that_cannot_be_measured(tmp_path: Path) -> None:
    document = links_file()
    document["places"].append({"name": "elsewhere", "networks": ["203.0.113.0/24"]})
    document["links"] = [{"between": ["near", "here"]}, {"between": ["elsewhere", "here"], "delay_ms": 5}]
    done = run(tmp_path / "wan.json", document, "--check")
    off = [line for line in done.stdout.splitlines() if line.endswith("OFF")]
    assert done.returncode == 1 and off and all(line.startswith("elsewhere--here") for line in off)


async def test_a_call_of_grpc_crosses_a_link() -> None:
    servicer, server = health_aio.HealthServicer(), grpc.aio.server()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    host = loopback(HERE)
    port = server.add_insecure_port(f"{host}:0")
    await server.start()
    try:
        async with (
            net(link("local", LinkPath(0.02)), upstream=f"{host}:{port}") as it,
            grpc.aio.insecure_channel("{}:{}".format(*it.listen)) as channel,
        ):
            stub: Any = health_pb2_grpc.HealthStub(channel)
            began_at = time.monotonic()
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=START_SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            assert time.monotonic() - began_at >= 0.079  # a handshake and an exchange at the least
    finally:
        await server.stop(0)


async def test_an_edge_behind_a_relay_knows_its_viewers(tmp_path: Path) -> None:
    relay = loopback(HERE)
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", trusted_proxies=f"{relay}/32")
        site = await lab.site()
        site.script("/a", cacheable(b"a"))
        async with net(
            link("near", LinkPath(0.002)),
            upstream=lab.edge.http,
            client_address=ClientAddress.PROXY_V2,
            outgoing_address=relay,
        ) as it:
            source = loopback(NEAR)
            async with Viewer("{}:{}".format(*it.listen), source=source) as viewer:
                await viewer.ask(site.host, "/a")
                assert (await viewer.read_head()).status == 200
        (request,) = site.asked("/a")
        assert request["x-forwarded-for"] == source
        assert (await lab.edge.logged(site.host))[4] == source
