"""Which requests an admin port answers, by what browsers and other programs say of them."""

import pytest

from proto.admin_access import FORBIDDEN, UNSUPPORTED_MEDIA_TYPE, AdminAccess, read_fields

ACCESS = AdminAccess(["edge-1", "b3a1c2.local", ""])


def status_of(takes_json: bool = False, **fields: str) -> int | None:
    refusal = ACCESS.refusal({name.replace("_", "-"): value for name, value in fields.items()}, takes_json=takes_json)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9100",
        "10.77.100.11:9100",
        "[::1]:9100",
        "[::1]",
        "localhost",
        "LOCALHOST:9100",
        "localhost.:9100",
        "edge-1:9100",
        "Edge-1",
        "b3a1c2.local",
    ],
)
def test_addresses_and_own_names_are_answered(host: str) -> None:
    assert status_of(host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9100",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "edge-2:9100",
        "evil.example, 127.0.0.1",
        "127.0.0.1@evil.example",
        "[edge-1]",
        "[evil.example]:9100",
        "localhost:9100:1",
        "localhost:x",
        ":9100",
        "local host",
    ],
)
def test_a_name_that_may_lead_here_by_rebinding_is_refused(host: str) -> None:
    assert status_of(host=host) == FORBIDDEN


def test_a_program_that_says_no_host_is_no_browser() -> None:
    assert status_of() is None
    assert status_of(host="") is None
    assert status_of(host="", origin="http://evil.example") == FORBIDDEN


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "https://127.0.0.1:9100", "http://127.0.0.1"]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert status_of(host="127.0.0.1:9100", origin=origin) == FORBIDDEN


def test_a_page_of_the_admin_port_itself_is_answered() -> None:
    assert status_of(host="127.0.0.1:9100", origin="http://127.0.0.1:9100", sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(("site", "status"), [("cross-site", FORBIDDEN), ("none", None), ("same-origin", None)])
def test_what_a_page_of_another_site_reads_is_refused_without_an_origin_too(site: str, status: int | None) -> None:
    assert status_of(host="127.0.0.1:9100", sec_fetch_site=site) == status


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        ("text/plain", UNSUPPORTED_MEDIA_TYPE),
        ("application/x-www-form-urlencoded", UNSUPPORTED_MEDIA_TYPE),
        ("application/json, text/plain", UNSUPPORTED_MEDIA_TYPE),
        ("", UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_json_is_said_to_be_json(content_type: str, status: int | None) -> None:
    """Only this type makes a browser ask first (Fetch, section 4.8), so that an old one that says no Origin is kept out as well."""
    assert status_of(takes_json=True, host="localhost", content_type=content_type) == status
    assert status_of(host="localhost", content_type=content_type) is None


def test_fields_are_read_as_they_come() -> None:
    lines = ["Host: a", "nonsense", "hOST:b", "Origin : http://x", "X-Empty:", ""]
    assert read_fields(lines) == {"host": "a, b", "origin": "http://x", "x-empty": ""}
