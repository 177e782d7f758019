"""Accept-Encoding in the form that is keyed and sent upstream (reference 2.7), and which coding a viewer would have best.

Codings are read without regard to case, and a weight of 0 means "not acceptable" (RFC 9110 section 12.4.2). A member that is not of the form of section 12.5.3
counts as not sent: a response without a coding is always right for it; only white space around "=" is tolerated.

zstd exists in `rfc9111` mode only, and stands for that mode here. There `*` stands for every coding that is not named, `x-gzip` is gzip, and weights matter: the
viewer's order first, then this node's; where the viewer has an order, the normalised form says so in weights of its own (RFC 9110 sections 8.4.1.3 and 12.5.3).
CloudFront's table knows two names, and no order but Brotli before gzip: what is neither name is "neither".
"""

import re
from functools import lru_cache
from typing import Final

from edge_node.model.configuration import CachePolicy, Semantics
from edge_node.model.http import RequestHead

LONGEST_REMEMBERED_FIELD_BYTES: Final = 256
"""A viewer chooses its fields: longer ones are worked out anew each time, so that remembering has a bound in bytes."""
MOST_REMEMBERED_FIELDS: Final = 1024

SERVER_ORDER = (b"br", b"zstd", b"gzip")
"""Smallest result first: 64 KiB of JavaScript become 27.5, 30.3 and 32.7 % at the levels of `edge_node/http/compressor.py`."""

IDENTITY: Final = b"identity"
_ALIASES: Final = {b"x-gzip": b"gzip"}  # RFC 9110 section 8.4.1.3
_MEMBER: Final = re.compile(
    rb"[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*",
    re.ASCII,
)
_WRITTEN_WEIGHTS = (b"", b";q=0.5", b";q=0.2")
"""Of the codings that the viewer likes best, second and third; a constant set, so that a viewer cannot make variants by making up weights."""


def normalise_accept_encoding(field: bytes | None, gzip: bool, brotli: bool, zstd: bool = False) -> bytes | None:
    """The form of Accept-Encoding that is keyed; None when it is no part of the key.

    The flags are those of the cache policy. Members come in the order of preference, separated by commas alone, and the form of the form is the form itself.
    """
    if field is None or not (gzip or brotli or zstd):
        return None
    normalise = _normalise if len(field) <= LONGEST_REMEMBERED_FIELD_BYTES else _normalise.__wrapped__
    return normalise(field, gzip, brotli, zstd)


def accepted_codings(request: RequestHead, policy: CachePolicy, semantics: Semantics) -> bytes | None:
    """The normalised Accept-Encoding of a request, as keyed; an HTTP/1.0 request has none (reference 2.7).

    zstd is offered in `rfc9111` mode wherever the policy wants any compressed variants: CloudFront's API has no flag for it.
    """
    if request.minor_version < 1:
        return None
    wants_any = policy.accepts_gzip or policy.accepts_brotli
    offers_zstd = wants_any and semantics is Semantics.RFC9111
    field = request.fields.get(b"accept-encoding")
    normal = normalise_accept_encoding(field, policy.accepts_gzip, policy.accepts_brotli, offers_zstd)
    # By the RFCs a field that names none of them is no missing field, which accepts whatever comes (RFC 9110 section 12.5.3, RFC 9111 section 4.1).
    return IDENTITY if offers_zstd and normal is None and field is not None else normal


def preferred_coding(normalised: bytes | None) -> bytes | None:
    """The coding to use for a viewer whose field has this normalised form; None: none."""
    if normalised is None or normalised == IDENTITY:
        return None
    return normalised.partition(b",")[0].partition(b";")[0]


@lru_cache(maxsize=MOST_REMEMBERED_FIELDS)
def _normalise(field: bytes, gzip: bool, brotli: bool, zstd: bool) -> bytes | None:
    said = _weights(field)
    offered = {b"gzip": gzip, b"br": brotli, b"zstd": zstd}
    if not zstd:  # CloudFront's table: which codings, not how much they are liked
        return b",".join(coding for coding in SERVER_ORDER if offered[coding] and said.get(coding)) or None
    _join_aliases(said)
    anything = said.get(b"*", 0.0)
    weights = {coding: said.get(coding, anything) for coding in SERVER_ORDER if offered[coding]}
    accepted = [coding for coding, weight in weights.items() if weight > 0]
    steps = sorted({weights[coding] for coding in accepted}, reverse=True)
    accepted.sort(key=lambda coding: -weights[coding])  # stable: the server's order within one weight
    return b",".join(coding + _WRITTEN_WEIGHTS[steps.index(weights[coding])] for coding in accepted) or None


def _weights(field: bytes) -> dict[bytes, float]:
    """Weight by coding; of a coding that is named twice the lower weight holds, so that a refusal is never overruled."""
    weights: dict[bytes, float] = {}
    for member in field.lower().split(b","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            continue
        name, quality = match.groups()
        weight = 1.0 if quality is None else float(quality)
        weights[name] = min(weight, weights.get(name, 1.0))
    return weights


def _join_aliases(weights: dict[bytes, float]) -> None:
    """Two names of one coding are the coding named twice."""
    for alias, coding in _ALIASES.items():
        if alias in weights:
            weights[coding] = min(weights[alias], weights.get(coding, 1.0))
