"""The faults that a router can be told to suffer, where it was started with `--allow-faults` (docs/faults.md). What they do is elsewhere."""

from proto.clock_faults import DRIFT_KIND
from proto.injected_faults import FaultKind

KINDS: tuple[FaultKind, ...] = (DRIFT_KIND,)
"""It looks at no wall clock but for its log."""
