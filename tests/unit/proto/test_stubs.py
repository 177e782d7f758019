"""The staleness check of the generated stubs (proto/generate.py)."""

from pathlib import Path

from proto.generate import REPOSITORY, find_stale, stubs


def test_what_differs_is_missing_or_is_too_much_is_stale() -> None:
    committed = {Path("same"): b"1", Path("old"): b"1", Path("of no proto any more"): b"1"}
    fresh = {Path("same"): b"1", Path("old"): b"2", Path("new"): b"1"}
    assert find_stale(committed, fresh) == [Path("new"), Path("of no proto any more"), Path("old")]
    assert find_stale(fresh, fresh) == []


def test_the_committed_stubs_are_found() -> None:
    names = {path.name for path in stubs(REPOSITORY)}
    assert {"sync_pb2.py", "sync_pb2.pyi", "sync_pb2_grpc.py", "sync_pb2_grpc.pyi", "configuration_pb2.py"} <= names
    assert "node_session.py" not in names
