"""The viewer protocol policy of a behavior: reference 6.1, row by row."""

import pytest

from edge_node.caching.lookup import Reason, Refuse
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import ViewerProtocolPolicy
from edge_node.model.http import RequestHead
from edge_node.policy.viewer_protocol import Redirect, judge_viewer_protocol

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE"]
READS = (b"GET", b"HEAD")
REDIRECT = ViewerProtocolPolicy.REDIRECT_TO_HTTPS


def head(
    method: bytes = b"GET", target: bytes = b"/", host: bytes = b"d1.cdn.localhost", minor: int = 1
) -> RequestHead:
    return make_request_head(method, target, [(b"host", host)], minor, True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("policy", ViewerProtocolPolicy)
def test_over_https_nothing_is_asked(policy: ViewerProtocolPolicy, method: bytes) -> None:
    assert judge_viewer_protocol(policy, b"https", head(method)) is None


@pytest.mark.parametrize("method", METHODS)
def test_allow_all_serves_and_https_only_refuses(method: bytes) -> None:
    assert judge_viewer_protocol(ViewerProtocolPolicy.ALLOW_ALL, b"http", head(method)) is None
    refused = judge_viewer_protocol(ViewerProtocolPolicy.HTTPS_ONLY, b"http", head(method))
    assert isinstance(refused, Refuse) and (refused.status, refused.reason) == (403, Reason.HTTPS_ONLY)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("minor", [0, 1])
def test_redirect_to_https_by_method_and_version(method: bytes, minor: int) -> None:
    """301 for GET and HEAD; 307 for methods with a body, that HTTP/1.0 does not know; nothing else is ever redirected."""
    verdict = judge_viewer_protocol(REDIRECT, b"http", head(method, minor=minor))
    if method in READS or (minor == 1 and method != b"PURGE"):
        assert isinstance(verdict, Redirect)
        assert (verdict.status, verdict.reason) == (301 if method in READS else 307, Reason.REDIRECT_TO_HTTPS)
    else:
        assert isinstance(verdict, Refuse) and (verdict.status, verdict.reason) == (403, Reason.HTTPS_ONLY)


@pytest.mark.parametrize(
    ("host", "target", "https_port", "location"),
    [
        (b"d1.cdn.localhost", b"/", 443, b"https://d1.cdn.localhost/"),
        (b"D1.cdn.localhost:8080", b"/a%20b?x=1&y=%0d", 443, b"https://d1.cdn.localhost/a%20b?x=1&y=%0d"),
        (b"d1.cdn.localhost:8080", b"/a", 8443, b"https://d1.cdn.localhost:8443/a"),
        (b"[::1]:8080", b"//b/..", 8443, b"https://[::1]:8443//b/.."),
        (b"d1.cdn.localhost", b"http://d1.cdn.localhost/a?b", 443, b"https://d1.cdn.localhost/a?b"),
        (b"d1.cdn.localhost", b"http://d1.cdn.localhost?b", 443, b"https://d1.cdn.localhost/?b"),
    ],
)
def test_the_same_url_with_https(host: bytes, target: bytes, https_port: int, location: bytes) -> None:
    verdict = judge_viewer_protocol(REDIRECT, b"http", head(b"GET", target, host), https_port)
    assert isinstance(verdict, Redirect) and verdict.location == location


@pytest.mark.parametrize(("status", "title"), [(301, b"301 Moved Permanently"), (307, b"307 Temporary Redirect")])
def test_the_page_of_a_redirect(status: int, title: bytes) -> None:
    """With 301 it has 167 bytes, as captured from the service."""
    page = Redirect(status, b"https://h/").body
    assert page.count(title) == 2 and b"<center>CloudFront</center>" in page
    assert len(page) == 167 + 2 * (len(title) - len(b"301 Moved Permanently"))
