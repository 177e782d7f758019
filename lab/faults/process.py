"""Faults of a node's process or container, through the cluster. Each undo may be done again, and at a node where nothing was done."""

from collections.abc import Mapping
from contextlib import suppress

from lab.cluster.interface import Cluster, Limits, NotPausedError
from lab.faults.lease import Memory
from lab.faults.parameters import Value

_NO_MEMORY: Memory = {}


def nothing_to_remember(_lab: Cluster, _node_id: str) -> Memory:
    return _NO_MEMORY


def kill(lab: Cluster, node_id: str, _parameters: Mapping[str, Value]) -> Memory:
    lab.kill(node_id)
    return _NO_MEMORY


def stop(lab: Cluster, node_id: str, _parameters: Mapping[str, Value]) -> Memory:
    lab.stop(node_id)
    return _NO_MEMORY


def restart(lab: Cluster, node_id: str, _parameters: Mapping[str, Value]) -> Memory:
    lab.restart(node_id)
    return _NO_MEMORY


def start(lab: Cluster, node_id: str, _parameters: Mapping[str, Value], _memory: Memory) -> None:
    if not is_running(lab, node_id):
        lab.start(node_id)


def pause(lab: Cluster, node_id: str, _parameters: Mapping[str, Value]) -> Memory:
    lab.pause(node_id)
    return _NO_MEMORY


def unpause(lab: Cluster, node_id: str, _parameters: Mapping[str, Value], _memory: Memory) -> None:
    """One that has been killed meanwhile is nobody's to bring back."""
    if is_running(lab, node_id):
        with suppress(NotPausedError):
            lab.unpause(node_id)


def remember_limits(lab: Cluster, node_id: str) -> Memory:
    limits = lab.limits(node_id)
    return {"cpus": limits.cpus or 0.0, "memory_mib": limits.memory_mib or 0}


def limit_cpus(lab: Cluster, node_id: str, parameters: Mapping[str, Value]) -> Memory:
    lab.set_limits(node_id, Limits(cpus=float(parameters["cpus"])))
    return _NO_MEMORY


def give_cpus_back(lab: Cluster, node_id: str, _parameters: Mapping[str, Value], memory: Memory) -> None:
    lab.set_limits(node_id, Limits(cpus=float(memory["cpus"])))


def limit_memory(lab: Cluster, node_id: str, parameters: Mapping[str, Value]) -> Memory:
    lab.set_limits(node_id, Limits(memory_mib=int(parameters["mib"])))
    return _NO_MEMORY


def give_memory_back(lab: Cluster, node_id: str, _parameters: Mapping[str, Value], memory: Memory) -> None:
    lab.set_limits(node_id, Limits(memory_mib=int(memory["memory_mib"])))


def is_running(lab: Cluster, node_id: str) -> bool:
    return any(node.is_running for node in lab.nodes() if node.id == node_id)
