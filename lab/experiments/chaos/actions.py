"""Actions of Chaos Toolkit: each is a step of lab/scenarios/steps.py, whose arguments it has, and which the run does.

All of them may be given `at` (a time since viewers came), `when` (a condition) and `within` (for how long it may not hold).
"""

from collections.abc import Mapping
from typing import Any

from lab.experiments.chaos.running import do

__all__ = ("configure", "heal", "inject", "invalidate", "move_time", "put", "restart", "wait")


def inject(  # noqa: PLR0913 - each is an argument of the file
    fault: str,
    target: str,
    lease: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Injects a fault of the catalogue (docs/faults.md); its lease heals it."""
    given = {"fault": fault, "target": target, "lease": lease, "parameters": parameters}
    return do(configuration, "inject", given | {"at": at, "when": when, "within": within})


def heal(
    fault: str | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Heals faults of this scenario before their time: those of one name, or all."""
    return do(configuration, "heal", {"fault": fault, "at": at, "when": when, "within": within})


def restart(
    target: str,
    pause: str | float | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Restarts the nodes of a target one after the other, each when the one before is live again."""
    given = {"target": target, "pause": pause}
    return do(configuration, "restart", given | {"at": at, "when": when, "within": within})


def put(  # noqa: PLR0913
    path: str,
    origins: list[str] | None = None,
    size_bytes: int | None = None,
    cache_control: str | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Puts a new version of an object to the origins."""
    given = {"path": path, "origins": origins, "size_bytes": size_bytes, "cache_control": cache_control}
    return do(configuration, "put", given | {"at": at, "when": when, "within": within})


def invalidate(  # noqa: PLR0913
    paths: list[str],
    distribution: str | None = None,
    awaits_receipt: bool | None = None,
    receipt_within: str | float | None = None,
    times: int | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Invalidates paths of a distribution, so many times, and waits for the receipts."""
    given = {
        "paths": paths,
        "distribution": distribution,
        "awaits_receipt": awaits_receipt,
        "receipt_within": receipt_within,
        "times": times,
    }
    return do(configuration, "invalidate", given | {"at": at, "when": when, "within": within})


def configure(  # noqa: PLR0913
    config: Mapping[str, Any],
    distribution: str | None = None,
    awaits_deployed: bool | None = None,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Changes a distribution: `config` is laid over its DistributionConfig."""
    given = {"config": config, "distribution": distribution, "awaits_deployed": awaits_deployed}
    return do(configuration, "configure", given | {"at": at, "when": when, "within": within})


def move_time(
    by: str | float,
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Moves the clock of the lab forward on all nodes (docs/time-travel.md)."""
    return do(configuration, "move_time", {"by": by, "at": at, "when": when, "within": within})


def wait(
    at: str | float | None = None,
    when: str | None = None,
    within: str | float | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Waits until a time, or until a condition holds."""
    return do(configuration, "wait", {"at": at, "when": when, "within": within})
