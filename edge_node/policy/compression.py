"""May this response be compressed for this request, with which coding, and what becomes of its header section: reference 2.7, RFC 9110 sections 7.7 and 8.4.

Decisions only; bytes are compressed by `edge_node/http/compressor.py`. Only edges compress: what a regional cache passes on is as the origin sent it.
"""

from typing import Final

from edge_node.http.accept_encoding import accepted_codings, preferred_coding
from edge_node.http.cache_control import parse_cache_control, split_list
from edge_node.http.targeted_cache_control import directives_of
from edge_node.model.configuration import Behavior, Semantics
from edge_node.model.http import Headers, RequestHead, ResponseHead

SMALLEST_BYTES: Final = 1_000
LARGEST_BYTES: Final = 10_000_000
STATUSES: Final = frozenset({200, 403, 404})

_APPLICATION: Final = (
    b"dash+xml eot font font-sfnt javascript json opentype otf pdf pkcs7-mime protobuf rss+xml truetype ttf vnd.apple.mpegurl vnd.mapbox-vector-tile "
    b"vnd.ms-fontobject wasm xhtml+xml xml x-font-opentype x-font-truetype x-font-ttf x-httpd-cgi x-javascript x-mpegurl x-opentype x-otf x-perl x-ttf"
)
_TEXT: Final = b"css csv html javascript js plain richtext tab-separated-values xml x-component x-java-source x-script"
CONTENT_TYPES: Final = frozenset(
    [b"application/" + name for name in _APPLICATION.split()]
    + [b"font/" + name for name in b"eot opentype otf ttf".split()]
    + [b"text/" + name for name in _TEXT.split()]
    + [b"image/svg+xml", b"vnd.apple.mpegurl"]
)

_OF_THE_BYTES_SENT: Final = frozenset({b"content-length", b"content-md5", b"digest", b"content-digest", b"repr-digest"})
"""They describe the bytes before they were encoded, and would make a viewer reject the response: RFC 9110 section 8.6, RFC 1864, RFC 3230 section 4.3.2,
RFC 9530 sections 2 and 3 (a digest of the representation is one of its encoded form)."""


def coding_for(
    request: RequestHead, response: ResponseHead, behavior: Behavior, *, wants_whole: bool = False
) -> bytes | None:
    """The coding in which the viewer is to have this response; None: as it is. `wants_whole`: upstream was not asked for the viewer's range, but for everything.

    A response to HEAD gets the same answer as one to GET: its fields must be those that GET would bring (RFC 9110 sections 8.6 and 9.3.2). Answers to other
    methods pass as they are: they are sent once, and the reference speaks of objects.
    """
    if (
        request.method not in (b"GET", b"HEAD")
        or not behavior.compresses
        or request.minor_version < 1
        or (b"range" in request.fields and not wants_whole)
    ):
        return None
    if not is_compressible(response):
        return None
    if behavior.semantics is Semantics.RFC9111 and directives_of(response.fields).control.no_transform:
        return None
    return preferred_coding(accepted_codings(request, behavior.cache_policy, behavior.semantics))


def is_compressible(response: ResponseHead) -> bool:
    """What the response alone decides. A request's own no-transform is a wish, not a rule (RFC 9111 section 5.2.1.6), and would spoil the copy for the others."""
    length = response.content_length
    fields = response.fields
    return (
        response.status in STATUSES
        and length is not None
        and SMALLEST_BYTES <= length <= LARGEST_BYTES
        and b"content-encoding" not in fields
        and b"content-range" not in fields
        and _media_type(fields.get(b"content-type", b"")) in CONTENT_TYPES
        and not parse_cache_control(fields.get(b"cache-control", b"")).no_transform  # RFC 9111 section 5.2.2.6
    )


def encoded_fields(headers: Headers, coding: bytes) -> Headers:
    """The end-to-end fields of the response once its body is encoded; names in lower case, as everywhere.

    Accept-Ranges stays: offsets then count encoded bytes (reference 2.7), and no If-Range with the old, strong ETag can match the new, weak one.
    """
    kept = [pair for pair in headers if pair[0] not in _OF_THE_BYTES_SENT and pair[0] != b"etag"]
    etag = next((value for name, value in headers if name == b"etag"), None)
    weakened = weak_etag(etag) if etag is not None else None
    if weakened is not None:
        kept.append((b"etag", weakened))
    return with_vary((*kept, (b"content-encoding", coding)))


def weak_etag(etag: bytes) -> bytes | None:
    """The ETag of the encoded form: no longer byte for byte the same (RFC 9110 section 8.8.1). None: it is none, and goes (reference 2.7)."""
    if etag.startswith(b"W/"):
        return etag
    return b"W/" + etag if etag.startswith(b'"') else None


def with_vary(headers: Headers) -> Headers:
    """With Accept-Encoding among what the response varies by (RFC 9110 section 12.5.5); untouched when it or `*` is there already."""
    named = {member.lower() for name, value in headers if name == b"vary" for member in split_list(value)}
    if b"accept-encoding" in named or b"*" in named:
        return headers
    if not named:
        return (*(pair for pair in headers if pair[0] != b"vary"), (b"vary", b"Accept-Encoding"))
    last = max(index for index, (name, _) in enumerate(headers) if name == b"vary")
    value = b", ".join((*split_list(headers[last][1]), b"Accept-Encoding"))
    return (*headers[:last], (b"vary", value), *headers[last + 1 :])


def _media_type(content_type: bytes) -> bytes:
    """Without parameters (reference 2.7), in lower case (RFC 9110 section 8.3.1)."""
    return content_type.partition(b";")[0].strip(b" \t").lower()
