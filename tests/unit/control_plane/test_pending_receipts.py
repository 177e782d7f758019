"""Invalidations that wait: each once, however it was heard of."""

from control_plane.receipts import IssuedInvalidation, PendingReceipts


def issued(index: int) -> IssuedInvalidation:
    return IssuedInvalidation(f"I{index}", "D1", index, ("/*",), 1_000.0)


def test_what_was_committed_while_all_that_wait_were_read_is_there_once() -> None:
    pending = PendingReceipts([issued(1), issued(2), issued(3)])
    pending.acknowledged("edge-1", 2, 1_001.0)
    for index in (2, 3, 4):
        pending.add(issued(index))
    assert len(pending) == 4
    receipts = pending.complete([], 1_002.0)
    assert [receipt.invalidation.index for receipt in receipts] == [1, 2, 3, 4]
    pending.remove(receipts)
    assert len(pending) == 0 and pending.oldest_index is None
