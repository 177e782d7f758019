"""Whether a scenario fits the lab that it is to be run on: every node, region and distribution that it names is there. Asked before anything is begun. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.checkers.catalogue import choose
from lab.checkers.gates import GATE_FIGURES
from lab.errors import UsageError
from lab.faults.catalogue import find_fault
from lab.faults.fault import Targets
from lab.faults.link_targets import LinkCandidate, choose_links, choose_partition
from lab.faults.targets import Candidate, choose_for
from lab.scenarios.figures import FIGURES
from lab.scenarios.scenario import Scenario
from lab.scenarios.steps import Configure, Inject, Invalidate, Put, Restart, Step
from lab.topology.internet import links_of
from lab.topology.layout import Layout, Role
from lab.topology.links import LINK_JOINT
from lab.topology.model import Topology

_NO_FOLDER: Final = Path("/nonexistent")
"""Of no process: only names are asked for."""


def check_fits(scenario: Scenario, topology: Topology) -> None:
    """UsageError with everything that is not there."""
    nodes = [Candidate(each.id, each.role, each.region, each.pop) for each in Layout(topology, _NO_FOLDER).nodes()]
    problems = [*_sites(scenario, nodes), *_loads(scenario, topology), *_conditions(scenario, topology, nodes)]
    problems += _checkers(scenario, topology)
    links = tuple(LinkCandidate(LINK_JOINT.join(each.between), each.between) for each in links_of(topology))
    for named in (*scenario.steps, *scenario.rollbacks):
        found = [*_step(named.step, scenario, nodes), *_links(named.step, links if topology.has_relays else None)]
        problems += [f"step {named.name!r}: {each}" for each in found]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"scenario {scenario.name} does not fit topology {topology.name}:\n{lines}")


def _sites(scenario: Scenario, nodes: list[Candidate]) -> Iterator[str]:
    for site in scenario.sites:
        yield from (f"distribution {site.name}: {problem}" for problem in _origins(site.origins, nodes))


def _origins(wanted: tuple[str, ...], nodes: list[Candidate]) -> Iterator[str]:
    there = [node.id for node in nodes if node.role is Role.ORIGIN]
    yield from (
        f"there is no origin {name}: there are {', '.join(there) or 'none'}" for name in wanted if name not in there
    )


def _loads(scenario: Scenario, topology: Topology) -> Iterator[str]:
    there = list(dict.fromkeys(each.region for each in topology.populations))
    if scenario.loads and not there:
        yield "the topology has no populations: nobody would come"
    for load in scenario.loads:
        missing = [region for region in load.regions if region not in there]
        yield from (f"load {load.name}: nobody lives in {region}: there is {', '.join(there)}" for region in missing)


def _checkers(scenario: Scenario, topology: Topology) -> Iterator[str]:
    """Of a region where nobody lives a checker would say that it knows nothing, when the run is over."""
    there = list(dict.fromkeys(each.region for each in topology.populations))
    for choice in choose(scenario.checkers)[0]:
        wanted = choice.values.get("region", "*")
        names = [wanted] if isinstance(wanted, str) else wanted
        for region in names if isinstance(names, Sequence) else ():
            if region not in ("*", *there):
                yield f"checker {choice.name}: nobody lives in {region}: there is {', '.join(there) or 'none'}"


def _conditions(scenario: Scenario, topology: Topology, nodes: list[Candidate]) -> Iterator[str]:
    """Of a place that there is not a gate would say that all is well."""
    steps = (*scenario.steps, *scenario.rollbacks)
    waited_for = [(f"step {each.name!r}", each.step.due.condition) for each in steps]
    rules = [("stop", rule.condition) for rule in scenario.stops]
    there = {
        "region": list(dict.fromkeys(each.region for each in topology.populations)),
        "node": [each.id for each in nodes if each.role is Role.EDGE],
    }
    for what, condition in [*waited_for, *rules]:
        if condition is not None:
            yield from _place(f"{what}: {condition}", condition.place, FIGURES[condition.figure].place, there)
    for probe in scenario.probes:
        yield from _place(f"probe {probe.name!r}", probe.place, FIGURES[probe.figure].place, there)
    for gate in scenario.gates:
        yield from _place(f"gate: {gate}", gate.place, GATE_FIGURES[gate.figure].place, there)


def _place(what: str, place: str, kind: str, there: Mapping[str, list[str]]) -> Iterator[str]:
    if place and place not in there.get(kind, [place]):
        yield f"{what}: no {kind} {place}: there are {', '.join(there[kind]) or 'none'}"


def _step(step: Step, scenario: Scenario, nodes: list[Candidate]) -> Iterator[str]:
    match step:
        case Put():
            yield from _origins(step.origins, nodes)
        case Invalidate() | Configure():
            names = [site.name for site in scenario.sites]
            if step.distribution and step.distribution not in names:
                yield f"there is no distribution {step.distribution!r}: there are {', '.join(names)}"
        case Inject() | Restart():
            yield from _target(step, nodes)


def _links(step: Step, links: tuple[LinkCandidate, ...] | None) -> Iterator[str]:
    """None: the lab has no links."""
    if not isinstance(step, Inject) or _is_of_nodes(step):
        return
    if links is None:
        yield f"{step.fault} is for links, and the lab has none (relays: false)"
        return
    try:
        if find_fault(step.fault).targets is Targets.PARTITIONS:
            choose_partition(step.target, links)
        else:
            choose_links(step.target, links, str(step.parameters["direction"]))
    except UsageError as error:
        yield str(error)


def _target(step: Inject | Restart, nodes: list[Candidate]) -> Iterator[str]:
    try:
        if isinstance(step, Restart):
            choose_for(find_fault("restart"), step.target, nodes)
        elif _is_of_nodes(step):
            choose_for(find_fault(step.fault), step.target, nodes)
    except UsageError as error:
        yield str(error)


def _is_of_nodes(step: Inject) -> bool:
    return find_fault(step.fault).targets is Targets.NODES
