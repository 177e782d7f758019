"""How each fault of the catalogue is injected and undone: one literal table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.cluster.interface import Cluster
from lab.faults import process
from lab.faults.lease import Memory
from lab.faults.origin import CONSTANT_ETAG, Does, behavior, vary_of
from lab.faults.parameters import Value
from lab.faults.program import own_fault

Inject = Callable[[Cluster, str, Mapping[str, Value]], Memory]
"""At one node; returns what only the injection knows. LabError when it cannot be done."""
Undo = Callable[[Cluster, str, Mapping[str, Value], Memory], None]
"""Does no harm when it is done again, or where the injection was never done. LabError: it has to be tried again."""
Remember = Callable[[Cluster, str], Memory]
"""What has to be known before."""


@dataclass(frozen=True, slots=True)
class Action:
    """The two halves of a fault."""

    inject: Inject
    undo: Undo
    remember: Remember = process.nothing_to_remember


def _answers(does: Does) -> Action:
    posting = behavior(does)
    return Action(posting.inject, posting.undo)


def _own(kind: str) -> Action:
    posting = own_fault(kind)
    return Action(posting.inject, posting.undo)


ACTIONS: dict[str, Action] = {
    "kill": Action(process.kill, process.start),
    "stop": Action(process.stop, process.start),
    "pause": Action(process.pause, process.unpause),
    "restart": Action(process.restart, process.start),
    "limit-cpu": Action(process.limit_cpus, process.give_cpus_back, process.remember_limits),
    "limit-memory": Action(process.limit_memory, process.give_memory_back, process.remember_limits),
    "http-status": _answers(lambda given: {"status": given["status"]}),
    "http-delay": _answers(lambda given: {"delay_seconds": given["by"]}),
    "http-stall": _answers(lambda given: {"first_byte_delay_seconds": given["by"]}),
    "http-trickle": _answers(lambda given: {"body_bytes_per_second": given["rate"]}),
    "http-truncate": _answers(lambda given: {"truncate_after_bytes": given["after"]}),
    "http-reset": _answers(lambda given: {"reset_after_bytes": given["after"]}),
    "http-corrupt": _answers(lambda given: {"corrupt_at_byte": given["at"]}),
    "http-drop": _answers(lambda _given: {"drop_connection": True}),
    "wrong-vary": _answers(lambda given: {"headers": {"Vary": vary_of(given["names"])}}),
    "lying-304": _answers(lambda _given: {"not_modified": True}),
    "constant-etag": _answers(lambda _given: {"entity_tag": CONSTANT_ETAG}),
    "log-lose": _own("log-lose"),
    "log-delay": _own("log-delay"),
    "log-duplicate": _own("log-duplicate"),
    "log-reorder": _own("log-reorder"),
    "lying-acknowledgement": _own("lying-acknowledgement"),
    "reject-configuration": _own("reject-configuration"),
    "directory-lost": _own("directory-lost"),
    "stale-regional": _own("stale-regional"),
    "dns-servfail": _own("dns-servfail"),
    "dns-silence": _own("dns-silence"),
    "dns-wrong-answer": _own("dns-wrong-answer"),
    "dns-delay": _own("dns-delay"),
    "clock-offset": _own("clock-offset"),
    "clock-drift": _own("clock-drift"),
    "disk-full": _own("disk-full"),
    "disk-slow": _own("disk-slow"),
    "disk-read-error": _own("disk-read-error"),
    "disk-bit-flip": _own("disk-bit-flip"),
    "control-plane-deaf": _own("control-plane-deaf"),
    "control-plane-refuse": _own("control-plane-refuse"),
    "api-error": _own("api-error"),
    "api-throttle": _own("api-throttle"),
    "api-delay": _own("api-delay"),
}
