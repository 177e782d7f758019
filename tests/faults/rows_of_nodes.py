"""Faults of processes and containers: the node is gone, or hangs, or may use less."""

import resource

from lab.clients.http_client import UnreachableError
from tests.faults.scene import EDGE, Row, Scene, Symptom

_HANG_SECONDS = 0.3
_MIB = 512
_CPUS = 0.5
_UNLIMITED = 1 << 60
"""As cgroups of version 1 write it, or more."""


def _answers(scene: Scene) -> bool:
    try:
        return scene.get(EDGE, "/", _HANG_SECONDS).status > 0
    except UnreachableError:
        return False


def _is_back(scene: Scene) -> bool:
    return _answers(scene) and scene.state(EDGE) == "live"


def _gone(scene: Scene) -> Symptom:
    return Symptom(lambda: not _answers(scene) and scene.state(EDGE) == "down", lambda: _is_back(scene))


def _ended_in_order(scene: Scene) -> Symptom:
    def is_seen() -> bool:
        return _gone(scene).is_seen() and f"{EDGE} has ended" in "\n".join(scene.cluster.logs(EDGE, 5))

    return Symptom(is_seen, lambda: _is_back(scene))


def _hangs(scene: Scene) -> Symptom:
    """It takes connections, by its kernel, and says nothing on them, until its lease is over."""
    return Symptom(lambda: not _answers(scene) and scene.state(EDGE) in ("expired", "silent"), lambda: _is_back(scene))


def _another_process(scene: Scene) -> Symptom:
    before = scene.status(EDGE)["clock"]

    def is_seen() -> bool:
        return _is_back(scene) and scene.status(EDGE)["clock"] != before

    return Symptom(is_seen, lambda: _is_back(scene))


def _memory(scene: Scene) -> Symptom:
    before = _memory_mib(scene)
    return Symptom(lambda: _memory_mib(scene) == _MIB, lambda: _memory_mib(scene) == before)


def _memory_mib(scene: Scene) -> int:
    """As the system has it: of a process its limit, of a container that of its group. 0 for none."""
    found = scene.cluster.status().find(EDGE)
    pid = None if found is None else found.node.pid
    if pid is not None:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        return 0 if soft == hard else soft >> 20
    told = _shown(scene, "memory.max", "memory/memory.limit_in_bytes")[0]
    limit = int(told) if told.isdecimal() else _UNLIMITED
    return 0 if limit >= _UNLIMITED else limit >> 20


def _processors(scene: Scene) -> Symptom:
    before = _cpu_quota(scene)
    return Symptom(lambda: _cpu_quota(scene) == _CPUS, lambda: _cpu_quota(scene) == before)


def _cpu_quota(scene: Scene) -> float:
    """Processors that the container's group may use; 0 for all."""
    quota, period = _shown(scene, "cpu.max", "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() else 0.0


def _shown(scene: Scene, newer: str, older: str) -> list[str]:
    """Words in files of the container's group, which cgroups of version 2 and of version 1 have elsewhere."""
    told = scene.cluster.exec(EDGE, ["sh", "-c", f"cd /sys/fs/cgroup && cat {newer} 2>/dev/null || cat {older}"])
    assert told.status == 0, told.output
    return told.output.split()


ROWS = {
    "kill": Row(EDGE, _gone),
    "stop": Row(EDGE, _ended_in_order),
    "pause": Row(EDGE, _hangs),
    "restart": Row(EDGE, _another_process),
    "limit-cpu": Row(EDGE, _processors, {"cpus": _CPUS}, is_for_containers_only=True),
    "limit-memory": Row(EDGE, _memory, {"mib": _MIB}),
}
