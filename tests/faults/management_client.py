"""The management API as boto3 has it, with no attempt but the first: what it answers is what is looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from tests.faults.scene import Scene


@contextmanager
def client_of(scene: Scene) -> Iterator[Any]:
    """A client of CloudFront."""
    api = scene.cluster.status().api
    client = boto3.client(
        "cloudfront",
        endpoint_url=api["endpoint"],
        region_name=api["region"],
        aws_access_key_id=api["access_key_id"],
        aws_secret_access_key=api["secret_access_key"],
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )
    try:
        yield client
    finally:
        client.close()
