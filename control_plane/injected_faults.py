"""The faults that a control plane can be told to suffer, where it was started with `--allow-faults` (docs/faults.md). What they do is elsewhere."""

from typing import Final

from proto.clock_faults import DRIFT_KIND, OFFSET_KIND
from proto.injected_faults import FaultKind, FaultParameter, ValueKind

DEAF: Final = "control-plane-deaf"
REFUSE: Final = "control-plane-refuse"
API_ERROR: Final = "api-error"
API_THROTTLE: Final = "api-throttle"
API_DELAY: Final = "api-delay"

LONGEST_API_DELAY_SECONDS: Final = 20.0
"""Below what a request may take (`web.py`), after which its connection is cut: that would be another fault."""

_PROBABILITY: Final = FaultParameter("probability", ValueKind.NUMBER, 0.000001, 1, 1.0)
_DELAY: Final = FaultParameter("by", ValueKind.NUMBER, 0.001, LONGEST_API_DELAY_SECONDS, 0.5)

API_KINDS: Final = (
    FaultKind(API_ERROR, (_PROBABILITY,)),
    FaultKind(API_THROTTLE, (_PROBABILITY,)),
    FaultKind(API_DELAY, (_DELAY, _PROBABILITY)),
    OFFSET_KIND,
)
"""Those that the process of the management API suffers. It alone looks at a wall clock more than once: signatures are dated by it."""

KINDS: tuple[FaultKind, ...] = (FaultKind(DEAF), FaultKind(REFUSE), DRIFT_KIND, *API_KINDS)
