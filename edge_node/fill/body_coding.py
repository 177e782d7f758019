"""The content coding that an edge gives a body on its way from upstream (reference 2.7). Whether and how is decided by `policy/compression.py`; here it begins."""

from edge_node.http.compressor import Compressor
from edge_node.model.http import ResponseHead
from edge_node.policy.compression import coding_for, encoded_fields
from edge_node.policy.upstream_request import UpstreamRequest
from edge_node.storage.cache import Cache
from edge_node.upstream.response_heads import make_response_head


def begin_coding(
    cache: Cache, upstream_request: UpstreamRequest, head: ResponseHead, *, wants_whole: bool
) -> tuple[ResponseHead, Compressor | None]:
    """The head as viewers get it, and what codes the body; None: it passes as it is, or there will be none.

    Edges code, for viewers. `wants_whole`: upstream is asked for everything, whatever range the viewer wants.
    """
    request, behavior = upstream_request.head, upstream_request.route.behavior
    if not behavior.compresses or cache.node.is_regional or head.content_length is None:
        return head, None
    coding = coding_for(request, head, behavior, wants_whole=wants_whole)
    if coding is None:
        return head, None
    compressor = cache.compressors.open(coding, head.content_length) if request.method == b"GET" else None
    if compressor is None and request.method == b"GET":  # best effort: too many are at work
        return head, None
    return make_response_head(head.status, head.reason, encoded_fields(head.headers, coding)), compressor
