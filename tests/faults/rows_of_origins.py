"""Faults of an origin that a cache believes: what viewers of an edge get that nobody would get who asked the origin itself."""

import json
import time

from lab.clients.http_client import Reply, split_address
from lab.clients.management_api import (
    CACHING_OPTIMIZED,
    USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS,
    OriginAddress,
    SiteConfig,
)
from tests.faults.management_client import client_of
from tests.faults.scene import EDGE, ORIGIN, Row, Scene, Symptom

_LONGEST_HONEST_SECONDS = 5.0
"""Edge and regional cache keep what has `max-age=1` for a second each: later an old version is nobody's honest answer."""
_HALF = 1_000


def _mixed_variants(scene: Scene) -> Symptom:
    """One who wants German after another who wanted English, where `Vary` selects: behaviors that follow RFC 9111."""
    host = _site(scene, USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS, "rfc9111")

    def language_got() -> str:
        path = f"/echo/{scene.new_name()}?vary=Accept-Language&cache-control=max-age%3D60"
        replies = [scene.get(EDGE, path, headers=[("accept-language", each)], host=host) for each in ("en", "de")]
        return _language(replies[-1])

    return Symptom(lambda: language_got() == "en", lambda: language_got() == "de")


def _site(scene: Scene, policy_id: str, semantics: str) -> str:
    """The domain name of a distribution of that cache policy, in front of the same origin."""
    host, port = split_address(scene.reached_at(ORIGIN))
    name = f"fault-{scene.new_name()}"
    config = SiteConfig(name, OriginAddress(host, port), policy_id).to_api(name)
    tags = {"Items": [{"Key": "cdnlab:semantics", "Value": semantics}]}
    with client_of(scene) as client:
        made = client.create_distribution_with_tags(
            DistributionConfigWithTags={"DistributionConfig": config, "Tags": tags}
        )["Distribution"]
    scene.api.wait_deployed(made["Id"])
    return str(made["DomainName"])


def _language(reply: Reply) -> str:
    headers = json.loads(reply.body)["headers"]
    return next(str(value) for name, value in headers if name.lower() == "accept-language")


def _old_after_revalidation(scene: Scene) -> Symptom:
    """A version that was replaced long ago, and that the edge has just asked about."""
    host, name = _site(scene, CACHING_OPTIMIZED, "cloudfront"), scene.new_name()
    replaced_at: list[float] = []

    def got() -> Reply:
        return scene.get(EDGE, f"/bucket/faults/{name}", host=host)

    def is_seen() -> bool:
        if not replaced_at:
            scene.put(name, "new", "max-age=1")
            replaced_at.append(time.monotonic())
        reply = got()
        is_late = time.monotonic() - replaced_at[0] > _LONGEST_HONEST_SECONDS
        return is_late and reply.body == b"old" and reply.headers["x-cache"].startswith("RefreshHit")

    scene.put(name, "old", "max-age=1")
    return Symptom(is_seen, lambda: got().body == (b"new" if replaced_at else b"old"))


def _spliced_versions(scene: Scene) -> Symptom:
    """The beginning of one version and the rest of another, put together by the edge, which was told that they are of the same one."""
    host = _site(scene, CACHING_OPTIMIZED, "cloudfront")

    def completed() -> bytes:
        path = f"/bucket/faults/{(name := scene.new_name())}"
        scene.put(name, "a" * 2 * _HALF)
        scene.get(EDGE, path, headers=[("range", f"bytes=0-{_HALF - 1}")], host=host)
        scene.put(name, "b" * 2 * _HALF)
        return scene.get(EDGE, path, host=host).body

    spliced, whole = b"a" * _HALF + b"b" * _HALF, b"b" * 2 * _HALF
    return Symptom(lambda: completed() == spliced, lambda: completed() == whole)


ROWS = {
    "wrong-vary": Row(ORIGIN, _mixed_variants),
    "lying-304": Row(ORIGIN, _old_after_revalidation),
    "constant-etag": Row(ORIGIN, _spliced_versions),
}
