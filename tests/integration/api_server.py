"""The management API on a real socket, in a thread of its own, over the real store and a deployment that tests move."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import uvicorn
from botocore.config import Config

from control_plane.aws_api.application import create_application
from control_plane.store import SqlStore
from tests.fakes_control import FakeDeployment

HOST = "127.12.0.1"
CREDENTIALS = {"cdnlab": "cdnlab-secret"}
ZONE = "cdn.localhost"
DEADLINE_SECONDS = 10.0
SESSION = boto3.session.Session()
"""Of all clients: each session reads the description of CloudFront anew."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API listens, and what moves behind it."""

    endpoint: str
    store: SqlStore
    deployment: FakeDeployment

    def apply_everywhere(self) -> None:
        """Every node acknowledges the whole log."""
        self.deployment.applied_index = self.store.head_index


@contextlib.contextmanager
def running_api(folder: Path) -> Iterator[ApiServer]:
    """The API until the block ends."""
    with contextlib.closing(SqlStore(folder, time.time)) as store, socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        deployment = FakeDeployment()
        app = create_application(store, deployment, ZONE, CREDENTIALS)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield ApiServer(f"http://{HOST}:{listener.getsockname()[1]}", store, deployment)
        finally:
            server.should_exit = True
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()


def client(endpoint: str, access_key_id: str = "cdnlab", secret_access_key: str = "cdnlab-secret") -> Any:
    """boto3's client, without retries: a test wants to see the first answer."""
    return SESSION.client(
        "cloudfront",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )
