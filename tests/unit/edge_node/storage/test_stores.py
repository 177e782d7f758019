"""The stores of a node, opened as it opens them (edge_node/storage/storage_factory.py)."""

from pathlib import Path

import pytest

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry_factory import ResponseTiming, make_entry
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.model.configuration import Role
from edge_node.policy.response_head import LocalNode, content_length
from edge_node.settings import parse_settings
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.storage_factory import Storage, open_storage

TEMPLATE = EntryTemplates(LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a"))
MIB = 1 << 20


def open_in(folder: Path, disk_bytes: int = 64 * MIB) -> Storage:
    flags = {
        "node-id": "edge-1", "role": "edge", "region": "eu-central-1", "pop": "FRA56-P1", "listen": "127.0.1.1:8080", "admin": "127.0.1.1:9000",
        "control-plane": "127.0.1.1:7000", "state-dir": str(folder), "cache-bytes": str(16 * MIB), "disk-bytes": str(disk_bytes),
    }  # fmt: skip
    settings = parse_settings([word for name, value in flags.items() for word in (f"--{name}", value)])
    return open_storage(settings, TEMPLATE, InvalidationLog())


def put(stores: Storage, key: bytes, length: int, *, is_strict: bool) -> None:
    template = TEMPLATE.of(200, b"OK", b"text/plain", CacheMetadata(60.0, LifetimeRule.MAX_AGE), is_strict=is_strict)
    body = [bytes(50_000)] * (length // 50_000) + [bytes(length % 50_000)]
    writer = stores.store.open_writer(key, length)
    assert writer is not None and all(writer.add(chunk) for chunk in body)
    writer.commit(make_entry(key, content_length(length), body, length, template, ResponseTiming(7, 1_000.0, 5.0)))


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_node_that_starts_is_told_of_the_entries_of_strict_behaviors_and_of_no_others(
    tmp_path: Path, is_closed: bool
) -> None:
    stores = open_in(tmp_path)
    for number in range(200):
        put(stores, b"plain %d" % number, 300, is_strict=False)
    for name, length in ((b"small", 300), (b"large", 700_000), (b"removed", 300)):
        put(stores, name, length, is_strict=True)
    stores.store.remove(b"removed")
    stores.flush()
    if is_closed:
        stores.close()
    else:
        stores.store._disk._lock.release()  # type: ignore[attr-defined]  # as the end of a process does
    for _ in range(2):
        stores = open_in(tmp_path)
        assert stores.disk is not None and stores.disk.recovered_records == 202
        assert sorted(stores.strict_keys()) == [b"large", b"small"]
        stores.close()


def test_without_a_disk_there_is_memory_alone(tmp_path: Path) -> None:
    stores = open_in(tmp_path, disk_bytes=0)
    put(stores, b"a", 10, is_strict=True)
    assert stores.disk is None and stores.store.lookup(b"a") is not None and list(stores.strict_keys()) == []
    stores.flush()
    stores.close()
