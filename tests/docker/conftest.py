"""One compose lab for all tests here: images built once, brought up once, removed however the tests end."""

from collections.abc import Iterator
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config

from lab.cluster.engine import connect
from tests.docker.compose_lab import PROJECT, ComposeLab, Distribution, StartedLab
from tests.docker.origins import Origin
from tests.docker.viewers import PLACES, Viewer

ENGINE_SECONDS = 60


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = connect(ENGINE_SECONDS)
    if client is None:
        pytest.exit(
            "these tests need a Docker engine, and none answers here (DOCKER_HOST, or /var/run/docker.sock): start it, or leave them to CI",
            1,
        )
    yield client
    client.close()


@pytest.fixture(scope="session")
def started_lab(engine: docker.DockerClient) -> Iterator[StartedLab]:
    refuse_second_lab(engine)
    lab = ComposeLab(engine)
    lab.remove()
    lab.build()
    try:
        seconds_to_healthy = lab.up()
    except BaseException:
        print(lab.logs())
        lab.remove()
        raise
    yield StartedLab(lab, seconds_to_healthy)
    lab.remove()
    assert lab.remains() == []


@pytest.fixture(scope="session")
def lab(started_lab: StartedLab) -> ComposeLab:
    return started_lab.lab


def refuse_second_lab(engine: docker.DockerClient) -> None:
    """The subnets are fixed: two compose labs cannot run at once."""
    for network in engine.networks.list():
        subnets = [config.get("Subnet", "") for config in network.attrs["IPAM"]["Config"] or ()]
        if any(subnet.startswith("10.77.") for subnet in subnets) and not str(network.name).startswith(f"{PROJECT}_"):
            pytest.fail(f"network {network.name} has a subnet of the lab: `docker compose down` it first")


@pytest.fixture(scope="session")
def viewers(lab: ComposeLab) -> Iterator[dict[str, Viewer]]:
    """One in each place."""
    found: dict[str, Viewer] = {}
    try:
        for place in PLACES:
            found[place] = Viewer(lab.engine, place)
        yield found
    finally:
        for viewer in found.values():
            viewer.remove()


@pytest.fixture(scope="session")
def cloudfront(lab: ComposeLab) -> Iterator[Any]:
    """boto3 against the published API, as on the user's machine."""
    client = boto3.client(
        "cloudfront",
        endpoint_url=f"http://{lab.published('control-plane', '4566/tcp')}",
        region_name="us-east-1",
        aws_access_key_id="cdnlab",
        aws_secret_access_key="cdnlab-secret",
        config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 1}),
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def distribution(cloudfront: Any) -> Distribution:
    """In front of origin-1, by its container name; cached by the managed policy CachingOptimized."""
    methods = {"Quantity": 2, "Items": ["GET", "HEAD"]}
    config = {
        "CallerReference": "tests/docker",
        "Comment": "",
        "Enabled": True,
        "Origins": {
            "Quantity": 1,
            "Items": [
                {
                    "Id": "origin-1",
                    "DomainName": "origin-1",
                    "CustomOriginConfig": {"HTTPPort": 8080, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"},
                }
            ],
        },
        "DefaultCacheBehavior": {
            "TargetOriginId": "origin-1",
            "ViewerProtocolPolicy": "allow-all",
            "AllowedMethods": {**methods, "CachedMethods": methods},
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
    }
    created = cloudfront.create_distribution(DistributionConfig=config)["Distribution"]
    cloudfront.get_waiter("distribution_deployed").wait(Id=created["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return Distribution(created["Id"], created["DomainName"])


@pytest.fixture(scope="session")
def origin(lab: ComposeLab) -> Origin:
    return Origin(lab)
