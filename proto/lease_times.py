"""How long what takes that has to do with leases, as nodes and control plane count it: DESIGN sections 3 and 4, rules 5 and 10. Times in seconds.

Apart from the protocol itself, so that whoever needs a time needs no messages.
"""

HEARTBEAT_SECONDS = 1.0
"""Slowest beat; a shorter lease makes it faster."""

NOTICE_SECONDS = 3.0
"""After the end of its lease a node that is cut off has noticed, if it can reach a node that is not (rule 10): one heartbeat until the others have renewed theirs, half a
second until the next round of questions, half a second until they have answered (one second where they are half a second away), and for a loop that is late a second
(or half of one). Receipts wait for it."""
