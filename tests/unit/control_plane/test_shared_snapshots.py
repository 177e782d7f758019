"""When a snapshot is made again."""

from control_plane.change_log import TooFarBehindError
from control_plane.shared_snapshots import GROWN_TO_MUCH, SharedSnapshots

SIZE = 1_000


class Log:
    """Counts the snapshots that were made."""

    def __init__(self) -> None:
        self.head_index, self.oldest_index, self.made_total = 5, 1, 0

    def snapshot(self) -> tuple[int, bytes]:
        self.made_total += 1
        return self.head_index, bytes(SIZE)

    def after(self, index: int) -> bytes | None:
        if index + 1 < self.oldest_index:
            raise TooFarBehindError
        return None if index >= self.head_index else b"entry"


def grow(log: Log, snapshots: SharedSnapshots, entry_bytes: int) -> None:
    log.head_index += 1
    snapshots.log_grew(entry_bytes)


def test_it_is_made_once_for_all_who_need_it_also_while_the_log_grows_a_little() -> None:
    log = Log()
    snapshots = SharedSnapshots(log)
    for _ in range(100):
        assert snapshots.newest() == (5, bytes(SIZE))
        grow(log, snapshots, SIZE // GROWN_TO_MUCH // 100)
    assert log.made_total == 1


def test_it_is_made_again_when_the_entries_after_it_cost_a_part_of_it() -> None:
    log = Log()
    snapshots = SharedSnapshots(log)
    snapshots.newest()
    grow(log, snapshots, SIZE // GROWN_TO_MUCH + 1)
    assert [snapshots.newest()[0] for _ in range(3)] == [6] * 3 and log.made_total == 2


def test_it_is_made_again_when_the_entries_after_it_are_no_longer_retained() -> None:
    log = Log()
    snapshots = SharedSnapshots(log)
    snapshots.newest()
    for _ in range(3):
        grow(log, snapshots, 1)
    log.oldest_index = 7
    assert snapshots.newest()[0] == 8
