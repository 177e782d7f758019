"""origin-1 as a test sees it: what it was asked, and an object that can be changed."""

import json
from typing import Any

from tests.docker.compose_lab import ComposeLab, ask_in


class Origin:
    """origin-1, asked in its own container, without a link in between."""

    def __init__(self, lab: ComposeLab) -> None:
        self._container = lab.container("origin-1")

    def put(self, path: str, text: str) -> None:
        headers = {"Cache-Control": "max-age=600", "Content-Type": "text/plain"}
        answer = self._ask("127.0.0.1", 8080, path, "PUT", text, headers)
        assert answer["status"] == 200, answer

    def times_asked(self, path: str) -> int:
        answer = self._ask("127.0.0.1", 9100, f"/requests?path_prefix={path}", "GET", None, {})
        return sum(record["method"] == "GET" for record in json.loads(answer["body"])["requests"])

    def _ask(
        self, address: str, port: int, path: str, method: str, body: str | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = ask_in(
            self._container,
            do="request",
            address=address,
            port=port,
            path=path,
            host="origin-1",
            method=method,
            body=body,
            headers=headers,
        )
        return answer
