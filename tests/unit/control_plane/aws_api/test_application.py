"""The API as an ASGI application: bounds, refusals before any operation, and what is counted. Clients on real sockets are in tests/integration."""

import ast
import asyncio
import logging
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import RestXMLParser

from control_plane.aws_api import application
from control_plane.aws_api.application import MAXIMUM_BODY_BYTES, create_application
from control_plane.aws_api.errors import COMMON_STATUSES, statuses_by_code
from control_plane.aws_api.model import load_model
from control_plane.request_counts import OPERATION_KEY
from control_plane.state import StoreError
from tests.fakes_control import FakeDeployment, FakeStore

HOST = "127.0.0.1:4566"
DISTRIBUTIONS = "/2020-05-31/distribution"


class FullStore(FakeStore):
    """Its disk is full, and it says so."""

    def transaction(self) -> Any:
        raise StoreError("cannot write to the database x: disk is full")

    view = transaction


class BrokenStore(FakeStore):
    """It raises what nobody expects."""

    def transaction(self) -> Any:
        raise OSError("no space left on device")

    view = transaction


class Conversation:
    """One application and what is said to it."""

    def __init__(self, store: FakeStore | None = None) -> None:
        credentials = {"cdnlab": "cdnlab-secret"}
        self.app = create_application(
            store or FakeStore(), FakeDeployment(), "cdn.localhost", credentials, rng=random.Random(1)
        )
        self.scope: dict[str, Any] = {}

    async def send(self, method: str, target: str, *chunks: bytes, is_signed: bool = True) -> "Answer":
        body = b"".join(chunks)
        request = AWSRequest(method=method, url=f"http://{HOST}{target}", data=body)
        if is_signed:
            SigV4Auth(Credentials("cdnlab", "cdnlab-secret"), "cloudfront", "us-east-1").add_auth(request)
        headers = [(b"host", HOST.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        return await self.run(method, target, headers, list(chunks) or [b""])

    async def run(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        chunks: list[bytes],
        *,
        is_open: bool = False,
    ) -> "Answer":
        """When `is_open`, the connection stays open and nothing more comes; else it is closed."""
        path, _, query = target.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 4566),
        }
        sent: list[Any] = []
        pending = [
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
            for number, chunk in enumerate(chunks)
        ]

        async def receive() -> Any:
            if pending:
                return pending.pop(0)
            if not is_open:
                return {"type": "http.disconnect"}
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(self.scope, receive, send)
        return Answer(sent)


class Answer:
    """What was answered, as botocore reads an error."""

    def __init__(self, messages: list[Any]) -> None:
        self.status = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def code(self) -> str:
        raw = {"status_code": self.status, "headers": {}, "body": self.body}
        code: str = RestXMLParser().parse(raw, None)["Error"]["Code"]
        return code


async def test_an_unsigned_request_is_refused_before_anything_else() -> None:
    conversation = Conversation()
    answer = await conversation.send("GET", "/nowhere", is_signed=False)
    assert (answer.status, answer.code) == (403, "MissingAuthenticationToken")
    assert conversation.scope[OPERATION_KEY] == "unknown"


async def test_every_answer_has_a_request_id_of_its_own() -> None:
    conversation = Conversation()
    answers = [await conversation.send("GET", DISTRIBUTIONS), await conversation.send("GET", DISTRIBUTIONS)]
    assert [answer.status for answer in answers] == [200, 200]
    assert len({answer.headers["x-amzn-requestid"] for answer in answers}) == 2
    refused = await conversation.send("GET", f"{DISTRIBUTIONS}/E1")
    assert refused.headers["x-amzn-requestid"].encode() in refused.body
    assert refused.headers["content-type"] == "text/xml"


async def test_the_operation_is_noted_where_metrics_look() -> None:
    conversation = Conversation()
    await conversation.send("GET", DISTRIBUTIONS)
    assert conversation.scope[OPERATION_KEY] == "ListDistributions"
    await conversation.send("GET", "/2020-05-31/key-group")
    assert conversation.scope[OPERATION_KEY] == "ListKeyGroups"


async def test_what_is_not_supported_is_named_and_so_is_what_is() -> None:
    answer = await Conversation().send("POST", "/2020-05-31/key-group", b"<x/>")
    assert (answer.status, answer.code) == (400, "UnsupportedOperation")
    assert b"CreateKeyGroup is not supported" in answer.body and b"CreateInvalidation" in answer.body


async def test_no_operation_at_all() -> None:
    answer = await Conversation().send("GET", "/")
    assert (answer.status, answer.code) == (404, "UnknownOperationException")


async def test_a_body_has_a_bound() -> None:
    half = b" " * (MAXIMUM_BODY_BYTES // 2)
    answer = await Conversation().send("POST", DISTRIBUTIONS, half, half)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    answer = await Conversation().send("POST", DISTRIBUTIONS, half, half, b" ")
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")


async def test_a_client_that_goes_away_harms_nobody() -> None:
    answer = await Conversation().run("POST", DISTRIBUTIONS, [(b"host", HOST.encode())], [])
    assert (answer.status, answer.code) == (408, "RequestTimeout")


async def test_a_body_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.aws_api.application.BODY_TIMEOUT_SECONDS", 0.01)
    answer = await Conversation().run("POST", DISTRIBUTIONS, [(b"host", HOST.encode())], [], is_open=True)
    assert (answer.status, answer.code) == (408, "RequestTimeout")


async def test_repeated_parameters_and_headers() -> None:
    answer = await Conversation().send("GET", f"{DISTRIBUTIONS}?Marker=a&Marker=b")
    assert (answer.status, answer.code) == (400, "InvalidQueryParameter")


async def test_a_repeated_header_is_signed_as_one() -> None:
    signed_at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    request = AWSRequest(method="GET", url=f"http://{HOST}{DISTRIBUTIONS}", headers={"X-Amz-Meta": "a,b"})
    SigV4Auth(Credentials("cdnlab", "cdnlab-secret"), "cloudfront", "us-east-1").add_auth(request)
    headers = [(b"host", HOST.encode()), (b"x-amz-meta", b"a"), (b"x-amz-meta", b"b")]
    headers += [(name.lower().encode(), request.headers[name].encode()) for name in ("Authorization", "X-Amz-Date")]
    assert signed_at[:8] in request.headers["Authorization"]
    assert (await Conversation().run("GET", DISTRIBUTIONS, headers, [b""])).status == 200
    headers[2] = (b"x-amz-meta", b"c")
    assert (await Conversation().run("GET", DISTRIBUTIONS, headers, [b""])).status == 403


async def test_an_error_of_ours_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await Conversation(BrokenStore()).send("GET", DISTRIBUTIONS)
    assert (answer.status, answer.code) == (500, "InternalFailure")
    assert b"no space left" not in answer.body and "no space left" in caplog.text
    assert answer.headers["x-amzn-requestid"] in caplog.text


async def test_a_disk_that_does_not_take_a_change_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await Conversation(FullStore()).send("GET", DISTRIBUTIONS)
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert b"The control plane cannot write to the database x: disk is full. Nothing has changed." in answer.body
    assert "disk is full" in caplog.text and "Traceback" not in caplog.text
    assert answer.headers["x-amzn-requestid"] in caplog.text


def test_no_common_error_contradicts_the_model() -> None:
    modelled = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in load_model().error_shapes}
    assert not COMMON_STATUSES.keys() & modelled.keys()


def test_every_code_that_is_raised_has_a_status() -> None:
    statuses = statuses_by_code(load_model())
    folder = Path(application.__file__).parents[1]
    raised = {
        node.args[0].value
        for path in (*folder.glob("aws_api/*.py"), *folder.glob("compiler/*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("ApiError", "Problem")
        if isinstance(node.args[0], ast.Constant)
    }
    assert len(raised) > 30 and raised <= statuses.keys()
