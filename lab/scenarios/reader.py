"""From a YAML file to a `Scenario`: an experiment of Chaos Toolkit whose extension `cdnlab` says the rest (docs/scenarios.md has every key).

All mistakes are told at once, each with its line and key. What Chaos Toolkit itself demands is checked by its own library, too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from lab.checkers.catalogue import choose
from lab.checkers.conditions import Condition, parse_condition
from lab.checkers.gates import GATE_FIGURES
from lab.checkers.verdict import Outcome
from lab.durations import format_duration, parse_duration
from lab.errors import UsageError
from lab.load_profiles import PROFILES
from lab.scenarios.figures import FIGURES
from lab.scenarios.load_entry import LoadEntry, LoadEntryError, read_load_entry
from lab.scenarios.probe_arguments import PROBES, check_probe
from lab.scenarios.scenario import LONGEST_SECONDS, NamedProbe, NamedStep, Scenario, StopRule, Watch
from lab.scenarios.shipped import FOLDER, shipped_scenarios
from lab.scenarios.sites import read_site
from lab.scenarios.steps import STEPS, parse_step
from lab.scenarios.values import (
    duration,
    integer_if_any,
    plain,
    plain_mapping,
    plain_problems,
    text_if_any,
    words,
)
from lab.topology.composing import compose
from lab.topology.problems import TopologyError
from lab.topology.sections import Section
from loadtests.schedule import ARRIVALS, CONSTANT

EXTENSION: Final = "cdnlab"
ACTIONS_MODULE: Final = "lab.experiments.chaos.actions"
PROBES_MODULE: Final = "lab.experiments.chaos.probes"
CONTROL_MODULE: Final = "lab.experiments.chaos.control"
MAXIMUM_BYTES: Final = 1 << 20
DEFAULT_SECONDS: Final = 30.0
MOST_USERS: Final = 100_000
MOST_RATE: Final = 100_000.0


def find_scenario(wanted: str) -> Scenario:
    """A file, or a shipped one by its name. UsageError names everything that is wrong with it."""
    path = Path(wanted)
    if not (path.exists() or path.suffix or path.name != wanted):
        if wanted not in shipped_scenarios():
            raise UsageError(
                f"no file {wanted}, and no scenario of that name ships: there are {', '.join(shipped_scenarios())}"
            )
        path = FOLDER / f"{wanted}.yaml"
    return read_scenario(path)


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
        if len(data) > MAXIMUM_BYTES:
            raise UsageError(f"{path}: larger than {MAXIMUM_BYTES >> 20} MiB, not a scenario")
        return parse_scenario(data.decode("utf-8"), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text") from error


def parse_scenario(text: str, path: Path) -> Scenario:
    """The scenario in a text; `path` is where topologies are looked for from, and its name is the scenario's."""
    node = compose(text, str(path))
    problems = plain_problems(node)
    if problems:
        raise TopologyError(str(path), problems)
    root = Section(node, "the scenario", problems)
    scenario = _scenario(root, path) if not problems else None
    if problems or scenario is None:
        raise TopologyError(str(path), problems)
    return scenario


def _scenario(root: Section, path: Path) -> Scenario | None:
    """The whole schema in one place."""
    title, description = root.text("title"), root.text("description")
    method = root.sections("method", _activity)
    steps = [each if isinstance(each, NamedStep) else None for each in method]
    _out_of_order(root, steps)
    rollbacks = root.sections("rollbacks", _activity)
    tags = words(root, "tags")
    activities = [*method, *rollbacks, *_hypothesis(root)]
    _controls(root)
    for key in ("version", "configuration", "secrets", "contributions", "runtime", "dry"):
        root.known.append(key)
    extension = _extension(root)
    root.finish()
    if extension is None:
        return None
    sites = extension.sections("distributions", read_site)
    if not sites:
        extension.report("distributions must be a list of at least one, as in [{name: site, origin: origin-1}]")
    _named_twice(extension, "distributions", [site.name for site in sites])
    lasts = _duration(extension)
    loads = tuple(load for load in extension.sections("load", lambda each: _load(each, lasts)) if load is not None)
    _named_twice(extension, "load", [load.name for load in loads])
    scenario = Scenario(
        name=path.stem,
        title=title,
        description=description,
        topology=_topology(extension, path),
        duration_seconds=lasts,
        sites=sites,
        loads=loads,
        steps=tuple(step for step in steps if step is not None),
        document=plain(root.node),
        source=path,
        rollbacks=tuple(step for step in rollbacks if isinstance(step, NamedStep)),
        probes=tuple(each for each in activities if isinstance(each, NamedProbe)),
        tags=tags,
        seed=integer_if_any(extension, "seed", 0, 2**63 - 1),
        watch=_watch(extension),
        checkers=_checkers(extension),
        gates=_gates(extension),
        stops=tuple(stop for stop in extension.sections("stop", _stop) if stop is not None),
        expects=Outcome(extension.choice("expect", Outcome.VALID.value, [each.value for each in Outcome])),
    )
    extension.finish()
    return scenario


def _named_twice(extension: Section, key: str, names: Sequence[str]) -> None:
    for name in dict.fromkeys(each for each in names if each and names.count(each) > 1):
        extension.report(f"{key}: two are named {name}: give each a name of its own", extension.values[key])


def _out_of_order(root: Section, steps: Sequence[NamedStep | None]) -> None:
    """Steps are done one behind the other: one that is due before the one in front of it would come late."""
    before: NamedStep | None = None
    for node, named in zip(root.items("method"), steps, strict=False):
        if named is None or named.is_background or named.step.due.at_seconds is None:
            continue
        at, earlier = named.step.due.at_seconds, 0.0 if before is None else before.step.due.at_seconds or 0.0
        if before is not None and at < earlier:
            root.report(
                f"step {named.name!r} is due at {format_duration(at)}, and {before.name!r}, which stands before it, at {format_duration(earlier)}: "
                "put them in their order, or say background: true",
                node,
            )
        before = named


def _extension(root: Section) -> Section | None:
    """The block that is ours; others are left alone."""
    for node in root.items("extensions"):
        if isinstance(node, yaml.MappingNode):
            section = Section(node, f"the extension {EXTENSION}", root.problems)
            if section.values.get("name") is not None and section.values["name"].value == EXTENSION:
                section.known.append("name")
                return section
    root.report(f"there is no extension {EXTENSION}: `extensions: [{{name: {EXTENSION}, topology: default, ...}}]`")
    return None


def _controls(root: Section) -> None:
    modules = []
    for node in root.items("controls"):
        control = plain(node)
        provider = control.get("provider", {}) if isinstance(control, dict) else {}
        modules.append(provider.get("module") if isinstance(provider, dict) else None)
    if CONTROL_MODULE not in modules:
        root.report(
            f"there is no control of the lab: `controls: [{{name: {EXTENSION}, provider: {{type: python, module: {CONTROL_MODULE}}}}}]`",
            root.values.get("controls"),
        )


def _hypothesis(root: Section) -> Sequence[NamedStep | NamedProbe | None]:
    section = root.section("steady-state-hypothesis")
    if section is None:
        return ()
    section.text("title")
    activities = section.sections("probes", _activity)
    section.known.append("controls")
    section.finish()
    return activities


def _activity(section: Section) -> NamedStep | NamedProbe | None:
    """An activity of Chaos Toolkit; if it is an action of ours, its step; if it is a probe of ours that asks for a figure, which."""
    name = section.text("name")
    section.choice("type", "", ("action", "probe"))
    for key in ("pauses", "tolerance", "timeout", "controls", "configuration", "secrets", "dry", "ref"):
        section.known.append(key)
    is_background = section.flag("background", False)
    provider = section.section("provider")
    if provider is None:
        section.report(f"provider is missing in {name or 'an activity'}")
        return None
    if provider.text("type") != "python" or provider.values.get("module") is None:
        return None
    module = provider.text("module")
    if module not in (ACTIONS_MODULE, PROBES_MODULE):
        return None
    table: tuple[str, ...] = tuple(STEPS) if module == ACTIONS_MODULE else tuple(PROBES)
    function = provider.choice("func", "", table)
    arguments = provider.section("arguments") or Section(_nothing(provider), "arguments", section.problems)
    provider.known.append("secrets")
    provider.finish()
    if "func" not in provider.values:
        provider.report(f"func is missing in {name or 'an activity'}: one of {', '.join(table)}")
    if not function:
        return None
    arguments.what = f"the arguments of {function}"
    if module == PROBES_MODULE:
        asked = check_probe(function, arguments)
        return None if asked is None else NamedProbe(name, *asked)
    step = parse_step(function, arguments)
    return None if step is None else NamedStep(name, step, is_background)


def _nothing(provider: Section) -> yaml.Node:
    """No arguments, at the line of the provider."""
    mark, end = provider.node.start_mark, provider.node.end_mark
    return yaml.MappingNode("tag:yaml.org,2002:map", [], start_mark=mark, end_mark=end)


def _topology(extension: Section, path: Path) -> str:
    """A shipped one by its name, or a file beside the scenario."""
    name = extension.text("topology", "default")
    if not Path(name).suffix:
        return name
    places = [path.parent / name, Path(name), FOLDER / name]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        extension.report(
            f"there is no topology {name}: neither beside the scenario nor here, nor does one of that name come with the scenarios that ship",
            extension.values.get("topology"),
        )
    return name if found is None else str(found)


def _duration(extension: Section) -> float:
    seconds = duration(extension, "duration", DEFAULT_SECONDS) or 0.0
    if not 1 <= seconds <= LONGEST_SECONDS:
        extension.report(f"duration must be from 1s to {LONGEST_SECONDS:g} s", extension.values.get("duration"))
    return seconds


def _load(section: Section, lasts_seconds: float) -> LoadEntry | None:
    """One of `load`; it begins with the run and lasts as long unless it says otherwise."""
    begins = duration(section, "begins", 0.0) or 0.0
    lasts = duration(section, "lasts", None)
    profile = section.choice("profile", "", PROFILES)
    if begins >= lasts_seconds:
        section.report(
            f"begins must be before the run is over, which lasts {format_duration(lasts_seconds)}, not {format_duration(begins)}",
            section.values.get("begins"),
        )
    if "profile" not in section.values:
        section.report(f"profile is missing in a load: one of {', '.join(PROFILES)}")
    given: dict[str, Any] = {
        "name": text_if_any(section, "name") or profile,
        "profile": profile,
        "regions": words(section, "regions"),
        "users": integer_if_any(section, "users", 1, MOST_USERS),
        "rate": section.number_if_any("rate", MOST_RATE),
        "arrivals": section.choice("arrivals", CONSTANT, ARRIVALS),
        "stages": [_stage(node) for node in section.items("stages")],
        "options": plain_mapping(section, "options"),
        "begins_seconds": begins,
        "lasts_seconds": max(1.0, lasts_seconds - begins) if lasts is None else lasts,
    }
    try:
        return read_load_entry(given) if profile else None
    except LoadEntryError as error:
        section.report(f"load {given['name']}: {error.problems}")
        return None


def _stage(node: yaml.Node) -> Any:
    """`{at: 10s, users: 60, ramp: true}`; what is none is for who knows stages to say."""
    stage = plain(node)
    if not isinstance(stage, dict) or "at" not in stage:
        return stage
    try:
        at = stage["at"]
        seconds = parse_duration(at) if isinstance(at, str) else at
    except UsageError:
        seconds = stage["at"]
    return {"at_seconds": seconds, **{name: value for name, value in stage.items() if name != "at"}}


def _watch(extension: Section) -> Watch | None:
    section = extension.section("watch")
    if section is None:
        return None
    path, every = section.text("path"), duration(section, "every", 0.1)
    if path and not path.startswith("/"):
        section.report(f"path must begin with /, not {path!r}", section.values["path"])
    if not every:
        section.report("every must be more than 0s", section.values["every"])
    watch = Watch(path, every or 0.1)
    section.finish()
    return watch


def _checkers(extension: Section) -> object:
    """What the table of checkers takes, and nothing else."""
    node = extension.values.get("checkers")
    extension.known.append("checkers")
    wanted = [] if node is None else plain(node)
    for problem in choose(wanted)[1]:
        extension.report(f"checkers: {problem}", node)
    return wanted


def _gates(extension: Section) -> tuple[Condition, ...]:
    """Of the whole run."""
    gates = []
    for node in extension.items("gates"):
        try:
            gates.append(parse_condition(str(plain(node)), GATE_FIGURES))
        except UsageError as error:
            extension.report(f"gates: {error}", node)
    return tuple(gates)


def _stop(section: Section) -> StopRule | None:
    text, lasting = section.text("when"), duration(section, "lasting", 3.0) or 0.0
    try:
        return StopRule(parse_condition(text, FIGURES), lasting)
    except UsageError as error:
        if text:
            section.report(f"when: {error}", section.values["when"])
        return None
