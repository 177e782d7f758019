"""What becomes of a request that came over plain HTTP: the viewer protocol policy of its behavior, reference 6.1.

The check stands after the choice of the behavior and before that of the method (reference 6.8). Of requests over https it asks nothing.
"""

from typing import Final, assert_never

from edge_node.caching.lookup import Reason, Refuse
from edge_node.model.configuration import ViewerProtocolPolicy
from edge_node.model.http import RequestHead

HTTPS: Final = b"https"
HTTPS_PORT: Final = 443
"""Left out of a URL (RFC 9110 section 4.2.2)."""

_READS: Final = frozenset({b"GET", b"HEAD"})
_KEPT_BY_307: Final = frozenset({b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"})

_HTTPS_ONLY: Final = Refuse(403, Reason.HTTPS_ONLY, "This distribution answers requests over HTTPS only.")
_CANNOT_BE_REDIRECTED: Final = Refuse(
    403, Reason.HTTPS_ONLY, "This distribution answers requests over HTTPS only, and this request cannot be redirected."
)
_PHRASES: Final = {301: b"301 Moved Permanently", 307: b"307 Temporary Redirect"}


class Redirect:
    """An answer made here that sends the viewer to another URL: `X-Cache: Redirect from cloudfront`, and viewer functions do not run."""

    __slots__ = ("location", "status")

    def __init__(self, status: int, location: bytes) -> None:
        self.status: Final = status
        self.location: Final = location

    @property
    def reason(self) -> Reason:
        """There is one."""
        return Reason.REDIRECT_TO_HTTPS

    @property
    def body(self) -> bytes:
        """A page for viewers that do not follow; `text/html`, 167 bytes long for 301, as the service's."""
        phrase = _PHRASES[self.status]
        return (
            b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n"
            b"<hr><center>CloudFront</center>\r\n</body>\r\n</html>\r\n" % (phrase, phrase)
        )


def judge_viewer_protocol(
    policy: ViewerProtocolPolicy, scheme: bytes, head: RequestHead, https_port: int = HTTPS_PORT
) -> Redirect | Refuse | None:
    """One request against the policy of its behavior; None: go on. `https_port` is where this edge answers over https, since viewers know the port of http only."""
    if scheme == HTTPS:
        return None
    match policy:
        case ViewerProtocolPolicy.ALLOW_ALL:
            return None
        case ViewerProtocolPolicy.HTTPS_ONLY:
            return _HTTPS_ONLY
        case ViewerProtocolPolicy.REDIRECT_TO_HTTPS:
            status = _redirect_status(head.method, head.minor_version)
            return _CANNOT_BE_REDIRECTED if status is None else Redirect(status, _location(head, https_port))
        case _ as unreachable:
            assert_never(unreachable)


def _redirect_status(method: bytes, minor_version: int) -> int | None:
    """301 may turn a POST into a GET (RFC 9110 section 15.4.2), 307 may not, but HTTP/1.0 does not know it (reference 6.1: 403); 308 is not used.

    Other methods no behavior allows: they are refused in any case.
    """
    if method in _READS:
        return 301
    return 307 if method in _KEPT_BY_307 and minor_version >= 1 else None


def _location(head: RequestHead, https_port: int) -> bytes:
    """The same URL with https, its path and query byte for byte; the default root object stays out of sight."""
    port = b"" if https_port == HTTPS_PORT else b":%d" % https_port
    return b"https://%b%b%b" % (head.host, port, head.target)
