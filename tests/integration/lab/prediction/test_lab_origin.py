"""What a prediction takes the lab's origin to answer, and what it answers."""

import http.client
from collections.abc import Iterator

import pytest

from lab.errors import UsageError
from lab.prediction.lab_origin import lab_answer
from tests.integration.loadtests.load_peers import SITE, free_port, running, wait_ready

PATHS = [
    *(f"/pages/{number}.html" for number in range(1, 201)),
    *(f"/api/products?page={number}" for number in range(1, 26)),
    "/api/products",
    "/api/me",
    "/download/20KiB.bin",
    "/download/item-7?size=1MB",
    "/echo/x?size=100&cache-control=max-age%3D60&etag=%22a%22",
    "/echo/y?size=3KiB",
]
UNKNOWN = [
    "/nowhere",
    "/pages/201.html",
    "/pages/0.html",
    "/download/item-7",
    "/api/products?page=26",
    "/echo/x",
    "/bucket/a/b",
]
MOST_BYTES_OFF = 4
"""Of a head: digits of the host's clock, and of a checksum."""


@pytest.fixture(scope="module")
def origin() -> Iterator[http.client.HTTPConnection]:
    port, admin = free_port(SITE), free_port(SITE)
    with running("origin", "--node-id", "origin-1", "--listen", f"{SITE}:{port}", "--admin", f"{SITE}:{admin}"):
        wait_ready(f"http://{SITE}:{admin}/readyz")
        connection = http.client.HTTPConnection(SITE, port, timeout=10)
        yield connection
        connection.close()


@pytest.mark.slow
def test_the_table_is_what_the_origin_answers(origin: http.client.HTTPConnection) -> None:
    for path in PATHS:
        origin.request("GET", path, headers={"Cookie": "session=user-us-east-1-7"})
        answer = origin.getresponse()
        body, told = answer.read(), lab_answer(path)
        fields = [(name, value) for name, value in answer.getheaders() if name.lower() != "connection"]
        head_bytes = sum(len(name) + len(value) + 4 for name, value in fields) + 2
        assert answer.status == 200, path
        assert told.cache_control == answer.headers.get("cache-control"), path
        assert told.has_validator == ("etag" in answer.headers), path
        if path != "/api/me":  # as long as the name in it
            assert told.size_bytes == len(body), path
            assert abs(told.head_bytes - head_bytes) <= MOST_BYTES_OFF, (path, fields)


@pytest.mark.parametrize("path", UNKNOWN)
def test_what_is_not_known_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="is not known here"):
        lab_answer(path)
