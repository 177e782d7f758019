"""The faults that an edge or a regional cache can be told to suffer, where it was started with `--allow-faults` (docs/faults.md)."""

from proto.injected_faults import FaultKind

KINDS: tuple[FaultKind, ...] = ()
