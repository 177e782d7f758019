"""Which content answers a request: the first part of the path decides. From request values to a response value, nothing else.

Also what all content shares: allowed methods, how request bodies are received, errors of input. Conditions and ranges are `conditions`.
"""

from origin import api, bucket_api, downloads, echo, hls, misbehave
from origin.bucket import MAX_OBJECT_BYTES, BucketStore
from origin.errors import InvalidInputError
from origin.footage.reader import Footage
from origin.messages import BodyRule, Request, Response
from origin.website import Website

_MAX_CART_BYTES = 65_536
_READ_METHODS = ("GET", "HEAD")
_UPLOAD = BodyRule(is_kept=True, limit_bytes=MAX_OBJECT_BYTES)
_CART = BodyRule(is_kept=True, limit_bytes=_MAX_CART_BYTES)
_COUNTED = BodyRule()

KINDS = ("api", "bucket", "download", "echo", "hls", "misbehave", "site", "other")
_KIND_OF_DIRECTORY = {name: name for name in ("api", "bucket", "download", "echo", "hls", "misbehave")}


def kind_of(path: str) -> str:
    """The kind of content, which is also the metrics label; everything else belongs to the website."""
    return _KIND_OF_DIRECTORY.get(path[1 : path.find("/", 1)], "site")


def body_rule(method: str, path: str) -> BodyRule:
    """How a request's body is received. Only what is used is kept; everything else is counted and hashed as it passes."""
    if method == "PUT" and path.startswith("/bucket/"):
        return _UPLOAD
    if method == "POST" and path == "/api/cart":
        return _CART
    return _COUNTED


class Scenarios:
    """All content of one origin. What it holds: the site's remembered images, the film and the buckets."""

    def __init__(self, buckets: BucketStore, footage: Footage) -> None:
        self.buckets = buckets
        self._video = hls.Video(footage)
        self._website = Website()

    def respond(self, request: Request, kind: str, now: float, number: int) -> Response:
        """The whole response to a request: its conditions and range are still to be applied."""
        allowed = allowed_methods(request, kind)
        if allowed and request.method not in allowed:
            return _not_allowed(request, allowed)
        try:
            return self._content(request, kind, now, number)
        except InvalidInputError as error:
            return api.error(400, *error.problems)

    def _content(self, request: Request, kind: str, now: float, number: int) -> Response:
        match kind:
            case "api":
                return api.respond(request, now)
            case "bucket":
                return bucket_api.respond(self.buckets, request, now)
            case "download":
                return downloads.respond(request)
            case "echo":
                return echo.respond(request, now, number)
            case "hls":
                return self._video.respond(request, now)
            case "misbehave":
                return misbehave.respond(request)
            case _:
                return self._website.respond(request)


def allowed_methods(request: Request, kind: str) -> tuple[str, ...]:
    """What may be done with this path; nothing named means that its own content decides."""
    if request.method == "CONNECT":
        return _READ_METHODS
    match kind:
        case "echo" | "bucket":
            return ()
        case "api":
            return api.allowed_methods(request.path)
        case _:
            return _READ_METHODS


def _not_allowed(request: Request, allowed: tuple[str, ...]) -> Response:
    """405, or the answer to OPTIONS (RFC 9110, 9.3.7); both say what is allowed (10.2.1)."""
    allow = ("Allow", ", ".join((*allowed, "OPTIONS")))
    if request.method == "OPTIONS":
        return Response(204, (allow,))
    return Response(405, (("Content-Type", "text/plain"), allow), f"{request.method} is not allowed here\n".encode())
