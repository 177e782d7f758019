"""How each fault of the catalogue is injected and undone: one literal table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.cluster.interface import Cluster
from lab.faults import link_values, node_cut, process
from lab.faults.lease import Memory
from lab.faults.link_toxics import LinkToxic, microseconds, milliseconds
from lab.faults.link_values import LinkValues, Parameters, PathValues
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
    is_named: bool = False
    """What it does is named after its lease, whose id it is told as a parameter (lease.LEASE_ID)."""


def _answers(does: Does) -> Action:
    posting = behavior(does)
    return Action(posting.inject, posting.undo)


def _own(kind: str) -> Action:
    posting = own_fault(kind)
    return Action(posting.inject, posting.undo)


def _values(fields: tuple[str, ...], change: Callable[[PathValues, Parameters], PathValues]) -> Action:
    values = LinkValues(fields, change)
    return Action(values.inject, values.undo, values.remember)


def _toxic(kind: str, attributes: Callable[[Mapping[str, Value]], Mapping[str, int]]) -> Action:
    toxic = LinkToxic(kind, attributes)
    return Action(toxic.inject, toxic.undo, is_named=True)


_OF_LINKS: dict[str, Action] = {
    "cut": Action(node_cut.cut_off, node_cut.connect_again, is_named=True),
    "link-delay": _values(("delay_ms", "jitter_ms", "distribution"), link_values.later),
    "link-loss": _values(("loss_percent",), link_values.lossier),
    "link-bandwidth": _values(("bandwidth_mbit", "queue_kib"), link_values.narrower),
    "link-cut": _values(("cut",), link_values.cut),
    "partition": _values(("cut",), link_values.cut),
    "link-throttle": _toxic("bandwidth", lambda given: {"rate": int(given["rate"])}),
    "link-reset": _toxic("reset_peer", lambda given: {"timeout": milliseconds(given["after"])}),
    "link-timeout": _toxic("timeout", lambda given: {"timeout": milliseconds(given["after"])}),
    "link-half-open": _toxic("half_open", lambda _given: {}),
    "link-slow-close": _toxic("slow_close", lambda given: {"delay": milliseconds(given["by"])}),
    "link-slice": _toxic(
        "slicer",
        lambda given: {
            "average_size": int(given["size"]),
            "size_variation": int(given["variation"]),
            "delay": microseconds(given["gap"]),
        },
    ),
    "link-limit-data": _toxic("limit_data", lambda given: {"bytes": int(given["after"])}),
}


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
    **_OF_LINKS,
}
