"""/echo/ tells what was asked, and answers as asked. /misbehave/ checks what it is asked for."""

import json

import pytest

from origin import echo, misbehave
from origin.conditions import apply_conditions, http_date
from origin.errors import InvalidInputError
from origin.messages import Framing, Response
from tests.origin_builders import a_get, a_request

_NOW = 1_000_000.0


def shaped(query: str, *headers: tuple[str, str]) -> Response:
    request = a_get(f"/echo/x?{query}", *headers)
    return apply_conditions(request, echo.respond(request, _NOW, 7))


def test_the_request_is_told_as_it_came() -> None:
    request = a_request("POST", "/echo/%7e?b=1&a=2", ("X-B", "1"), ("x-a", "2"), body=b"hello")
    told = json.loads(bytes(echo.described(request)))
    assert told["method"] == "POST" and told["target"] == "/echo/%7e?b=1&a=2"
    assert told["headers"] == [["X-B", "1"], ["x-a", "2"]]
    assert told["body"] == {"length": 5, "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}


def test_headers_from_the_query() -> None:
    response = shaped(
        "cache-control=max-age%3D60&vary=Accept&age=5&set-cookie=a%3D1&set-cookie=b%3D2&header=X-Y:%20z&header=content-type:text/css"
    )
    assert response.header("cache-control") == "max-age=60" and response.header("vary") == "Accept"
    assert response.header("age") == "5" and response.header("x-y") == "z"
    assert [value for name, value in response.headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert [value for name, value in response.headers if name.lower() == "content-type"] == ["text/css"]


def test_dates_from_the_query() -> None:
    assert shaped("expires=60").header("expires") == http_date(_NOW + 60)
    assert shaped("expires=-60").header("expires") == http_date(_NOW - 60)
    assert shaped("last-modified=60").header("last-modified") == http_date(_NOW - 60)
    assert shaped(f"last-modified={http_date(5).replace(' ', '%20')}").header("last-modified") == http_date(5)


def test_status_and_size() -> None:
    response = shaped("status=404&size=1000")
    assert response.status == 404 and response.body == echo.expected_bytes("/echo/x", 0, 1_000)
    assert shaped("size=1000&v=2").body == echo.expected_bytes("/echo/x", 0, 1_000, version=2) != response.body
    assert len(shaped("size=1GiB").body) == 1 << 30


def test_revalidation_and_ranges_work_on_shaped_answers() -> None:
    assert shaped("etag=%22a%22", ("If-None-Match", '"a"')).status == 304
    assert shaped("etag=%22b%22", ("If-None-Match", '"a"')).status == 200
    assert shaped("last-modified=60", ("If-Modified-Since", http_date(_NOW))).status == 304
    assert shaped("size=1000", ("Range", "bytes=1-2")).body == echo.expected_bytes("/echo/x", 1, 2)


def test_framing_and_gates() -> None:
    assert shaped("chunked=1").framing is Framing.CHUNKED
    assert shaped("chunked=0").framing is Framing.LENGTH
    assert shaped("no-length=1").framing is Framing.CLOSE
    assert shaped("gate=a&gate-body=b").delivery.gate == "a" and shaped("gate-body=b").delivery.gate_body == "b"


def test_a_date_of_its_own_or_none() -> None:
    assert shaped("header=Date:today").has_own_date and shaped("no-date=1").has_own_date
    assert not shaped("").has_own_date


def test_unknown_parameters_change_nothing_but_the_target() -> None:
    assert shaped("utm_source=x").headers == shaped("").headers


@pytest.mark.parametrize(
    "query",
    [
        "status=99",
        "status=600",
        "status=04044",
        "status=x",
        "size=big",
        "header=nocolon",
        "header=a%0Ab:c",
        "header=a:b%0D%0Ac:d",
        "header=Content-Length:5",
        "header=Transfer-Encoding:chunked",
        "cache-control=a%0Ab",
        "vary=%E2%82%AC",
        "expires=tomorrow",
        "gate=a/b",
        "&".join("a" for _ in range(201)),
    ],
)
def test_what_cannot_be_answered_is_said(query: str) -> None:
    with pytest.raises(InvalidInputError):
        shaped(query)


@pytest.mark.parametrize(
    "target",
    [
        "slow-body?interval=-1",
        "slow-body?interval=nan",
        "slow-body?bytes=1000000&chunks=2",
        "delay?seconds=301",
        "status?code=199",
        "truncate?length=-5",
        "gated",
        "huge-header?bytes=1000000000",
    ],
)
def test_misbehaviour_is_bounded(target: str) -> None:
    with pytest.raises(InvalidInputError):
        misbehave.respond(a_get(f"/misbehave/{target}"))


def test_misbehaviour_is_planned() -> None:
    slow = misbehave.respond(a_get("/misbehave/slow-body?bytes=1000&chunks=10&interval=0.05"))
    assert (slow.delivery.piece_bytes, slow.delivery.interval_seconds) == (100, 0.05)
    assert misbehave.respond(a_get("/misbehave/truncate?length=9&send=3")).delivery.truncate_after_bytes == 3
    assert misbehave.respond(a_get("/misbehave/reset?after=5")).delivery.reset_after_bytes == 5
    assert misbehave.respond(a_get("/misbehave/gated?id=g")).delivery.gate_body == "g"
    assert len(misbehave.respond(a_get("/misbehave/huge-header?bytes=70000")).header("x-huge") or "") == 70_000
