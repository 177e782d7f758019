"""A recording begins, is renewed, goes on in the next process and ends, as whoever reads its files sees it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proto.history_recorder import LIVES_COLUMNS, HistoryRecorder

SECOND = 1_000_000_000


class Clock:
    """Stands still until somebody sets it."""

    def __init__(self) -> None:
        self.now = 100 * SECOND

    def __call__(self) -> int:
        return self.now


Recorder = Callable[..., HistoryRecorder]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Makes recorders. At the end of a test all of them are as those of killed processes."""
    made: list[HistoryRecorder] = []

    def make(folder: Path, clock: Clock, boot_id: str = "boot") -> HistoryRecorder:
        made.append(HistoryRecorder(folder, "edge-1", {"seen": ("node", "what")}, clock, boot_id))
        return made[-1]

    yield make
    for history in made:
        for file in history._files.values():
            file._file.close()


def asked(of: HistoryRecorder, method: str, document: object = None) -> tuple[int, Any]:
    told = of.answer(method, "/history", json.dumps(document).encode())
    assert told is not None
    return told[0], json.loads(told[2]) if told[1] == "application/json" else told[2].decode()


def seen(folder: Path) -> list[str]:
    return [line.split("\t")[1] for line in (folder / "seen.tsv").read_text().splitlines()[1:]]


def lives(folder: Path) -> list[dict[str, str]]:
    lines = (folder / "lives.tsv").read_text().splitlines()[1:]
    return [dict(zip(LIVES_COLUMNS, line.split("\t"), strict=True)) for line in lines]


def test_rows_are_written_while_somebody_asks_for_it_and_not_before(recorder: Recorder, tmp_path: Path) -> None:
    clock = Clock()
    history = recorder(tmp_path, clock)
    history.resume()
    history.add("seen", ("edge-1", "too early"))
    history.flush()
    assert not history.is_recording and not list(tmp_path.iterdir())
    assert asked(history, "POST", {"run": "r", "lease_seconds": 10})[1]["state"] == "recording"
    history.add("seen", ("edge-1", "a"))
    history.flush()
    assert seen(tmp_path) == ["a"]
    clock.now += 9 * SECOND
    assert asked(history, "POST", {"run": "r", "lease_seconds": 10})[1]["rows"] == {"lives": 1, "seen": 1}
    clock.now += 9 * SECOND
    history.add("seen", ("edge-1", "b"))
    history.flush()
    assert asked(history, "DELETE")[1]["state"] == "idle"
    history.add("seen", ("edge-1", "too late"))
    assert seen(tmp_path) == ["a", "b"]
    life = lives(tmp_path)[-1]
    assert (life["started_ns"], life["last_ns"], life["is_ended"], life["dropped_rows"]) == (
        str(100 * SECOND), str(118 * SECOND), "True", "0"
    )  # fmt: skip


def test_it_ends_with_its_lease(recorder: Recorder, tmp_path: Path) -> None:
    clock = Clock()
    history = recorder(tmp_path, clock)
    asked(history, "POST", {"run": "r", "lease_seconds": 10})
    history.add("seen", ("edge-1", "a"))
    clock.now += 10 * SECOND
    history.flush()
    assert not history.is_recording and seen(tmp_path) == ["a"] and lives(tmp_path)[-1]["is_ended"] == "True"


@pytest.mark.parametrize(("later_seconds", "boot_id", "goes_on"), [(9, "boot", True), (10, "boot", False), (1, "other", False)])  # fmt: skip
def test_the_next_process_goes_on_within_the_lease_and_the_boot(
    recorder: Recorder, tmp_path: Path, later_seconds: int, boot_id: str, goes_on: bool
) -> None:
    clock = Clock()
    killed = recorder(tmp_path, clock)
    asked(killed, "POST", {"run": "r", "lease_seconds": 10})
    killed.add("seen", ("edge-1", "a"))
    killed.flush()
    with (tmp_path / "seen.tsv").open("a") as file:
        file.write("edge-1\tto")  # what was being written
    clock.now += later_seconds * SECOND
    history = recorder(tmp_path, clock, boot_id)
    history.when_begun(lambda: history.add("seen", ("edge-1", "held")))
    history.resume()
    assert history.is_recording is goes_on
    if goes_on:
        assert seen(tmp_path) == ["a", "held"]
        assert len({life["process"] for life in lives(tmp_path)}) == 2


def test_another_run_begins_with_empty_files(recorder: Recorder, tmp_path: Path) -> None:
    history = recorder(tmp_path, Clock())
    for run in ("one", "two", "two"):
        asked(history, "POST", {"run": run})
        history.add("seen", ("edge-1", run))
    history.close()
    assert seen(tmp_path) == ["two", "two"]


def test_what_is_no_request_is_told_all_at_once(recorder: Recorder, tmp_path: Path) -> None:
    history = recorder(tmp_path, Clock())
    status, text = asked(history, "POST", {"run": "", "lease_seconds": True, "rum": 1})
    assert status == 400 and all(name in text for name in ("'rum'", "'run'", "'lease_seconds'"))
    assert asked(history, "POST", ["r"])[0] == 400 and asked(history, "PUT")[0] == 405
    assert history.answer("GET", "/historical", b"") is None
    assert asked(recorder(tmp_path, Clock(), ""), "POST", {"run": "r"})[0] == 503


def test_a_folder_that_takes_no_files_is_said(recorder: Recorder, tmp_path: Path) -> None:
    history = recorder(tmp_path, Clock())
    (tmp_path / "seen.tsv").mkdir()
    assert asked(history, "POST", {"run": "r"})[0] == 503 and not history.is_recording


def test_what_waits_for_room_is_not_said_to_be_written(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    history = recorder(tmp_path, clock)
    asked(history, "POST", {"run": "r"})
    file = history._files["seen"]
    with monkeypatch.context() as patch:
        patch.setattr(file, "_file", _Full(file._file))
        history.add("seen", ("edge-1", "a"))
        clock.now += 2 * SECOND
        history.flush()
        assert lives(tmp_path)[-1]["last_ns"] == str(100 * SECOND)
    clock.now += 2 * SECOND
    history.flush()
    assert seen(tmp_path) == ["a"] and lives(tmp_path)[-1]["last_ns"] == str(104 * SECOND)


class _Full:
    """A file on a disk without room."""

    def __init__(self, file: Any) -> None:
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")
