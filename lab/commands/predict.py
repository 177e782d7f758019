"""`cdnlab predict`: what caches would do with a trace or a profile, and with other sizes, policies, lifetimes and tiers."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lab.commands.chosen_load import entry_of
from lab.commands.status import align
from lab.errors import UsageError
from lab.load_profiles import PROFILES as PROFILE_NAMES
from lab.prediction.asking import PredictionChoice, WhatIfChoice
from lab.prediction.caching_rules import RULES_OF_PROFILES, RULES_OF_TRACES
from lab.prediction.lab_origin import lab_answer
from lab.prediction.network import WhatIf
from lab.prediction.profile_viewers import refuse_unpredictable, requests_of, steps_of
from lab.prediction.simulation import Invalidation, OriginAnswers, Prediction
from lab.prediction.tables import comparison_rows, document_of, node_rows
from lab.prediction.what_ifs import (
    Choices,
    Setting,
    memory_series,
    populations_of,
    predict_profile,
    predict_trace,
)
from lab.report.miss_ratio_curves import curves_of, draw_page, draw_svg
from lab.scenarios.load_entry import LoadEntry
from lab.topology.choice import TopologyChoice
from lab.topology.model import EVICTION_POLICIES, Topology
from lab.topology.reader import find_topology
from loadtests.catalogue import PROFILES, Profile
from loadtests.intensity import DEFAULT_NAME, Intensity
from loadtests.plan import Address, LoadPlan
from loadtests.traces.reader import read_trace
from loadtests.traces.trace_reading import TraceError

_SIZE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(KiB|MiB|GiB)?")
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, None: 1 << 20}
_SMALLEST_BYTES = 1 << 14
_LARGEST_BYTES = 1 << 40
_MOST_INVALIDATIONS = 10_000

Predict = Callable[[Sequence[WhatIf]], list[Prediction]]


def run(*, wanted: PredictionChoice, is_json: bool) -> int:
    topology = find_topology(TopologyChoice(wanted.topology))
    choices = choices_of(wanted.what_if)
    if wanted.plot is not None:
        choices = _with_sizes(choices, wanted.plot)
    combinations = choices.combinations()
    predictions = _predictor(wanted, topology)(combinations)
    if wanted.plot is not None:
        _draw(wanted, combinations, predictions, wanted.plot)
    if is_json:
        print(json.dumps({"predictions": document_of(combinations, predictions)}, indent=2))
    else:
        _print(combinations, predictions)
    return 0


def _with_sizes(choices: Choices, plot: Path) -> Choices:
    """A curve needs sizes: those that were given, if there are several."""
    if plot.suffix not in (".svg", ".html"):
        raise UsageError(f"--plot {plot}: a curve is drawn as .svg or .html")
    given = sorted(set(choices.edge_bytes))
    if len(given) == 1:
        raise UsageError("--plot needs several --memory, or none: then 1 MiB to 1 GiB in powers of two")
    return replace(choices, edge_bytes=given or list(memory_series(1, 1024)))


def _draw(
    wanted: PredictionChoice, combinations: Sequence[WhatIf], predictions: Sequence[Prediction], plot: Path
) -> None:
    curves = curves_of(combinations, predictions)
    title = f"Miss-ratio curves of {Path(wanted.load.profile).name}"
    drawn = draw_page(title, curves) if plot.suffix == ".html" else f"{draw_svg(curves)}\n"
    plot.write_text(drawn, encoding="utf-8")


def _print(combinations: Sequence[WhatIf], predictions: Sequence[Prediction]) -> None:
    if len(combinations) == 1:
        print("\n".join(align(node_rows(predictions[0]))))
    else:
        print("\n".join(align(comparison_rows(combinations, predictions))))


def _predictor(wanted: PredictionChoice, topology: Topology) -> Predict:
    profile = wanted.load.profile
    if profile in PROFILE_NAMES:
        return _profile_predictor(wanted, topology)
    path = Path(profile)
    if not path.exists():
        raise UsageError(f"{profile} is neither a file nor a profile: there are {', '.join(PROFILE_NAMES)}")
    setting = Setting(topology, RULES_OF_TRACES, OriginAnswers(), _invalidations(wanted.invalidate))

    def predict(combinations: Sequence[WhatIf]) -> list[Prediction]:
        try:
            return predict_trace(setting, combinations, read_trace(path, wanted.trace_format))
        except TraceError as error:
            raise UsageError(str(error)) from error

    return predict


def _profile_predictor(wanted: PredictionChoice, topology: Topology) -> Predict:
    refuse_unpredictable(wanted.load.profile)
    entry = entry_of(wanted.load)
    make_steps = steps_of(entry.profile, entry.options)
    setting = Setting(topology, RULES_OF_PROFILES, OriginAnswers(known=lab_answer), _invalidations(wanted.invalidate))
    plan = _plan(topology, entry, wanted.seed)

    def predict(combinations: Sequence[WhatIf]) -> list[Prediction]:
        return predict_profile(setting, combinations, requests_of(plan, make_steps, entry.lasts_seconds))

    return predict


def _plan(topology: Topology, entry: LoadEntry, seed: int) -> LoadPlan:
    """What `cdnlab load` would tell Locust, but for where to go."""
    nowhere = Address("", 0)
    intensity = Intensity(
        DEFAULT_NAME, seed=seed, rate=entry.rate, arrivals=entry.arrivals, users=entry.users, options=entry.options
    )
    plan = LoadPlan(nowhere, "", 0, populations_of(topology), intensity=intensity)
    profile: Profile = PROFILES[entry.profile]
    users, lasts = plan.users, entry.lasts_seconds
    return plan.for_run(users, lasts, profile.stages(users, lasts) if profile.stages is not None else ())


def _invalidations(given: Sequence[str]) -> list[Invalidation]:
    if len(given) > _MOST_INVALIDATIONS:
        raise UsageError(f"{len(given)} invalidations are too many: at most {_MOST_INVALIDATIONS}")
    found = []
    for text in given:
        seconds, has_path, path = text.partition(":")
        if not has_path or not path.startswith("/") or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", seconds):
            raise UsageError(f"--invalidate {text}: give SECONDS:PATH, for example 30:/news/*")
        found.append(Invalidation(float(seconds), (path,)))
    return found


def choices_of(what_if: WhatIfChoice) -> Choices:
    """UsageError with all that is wrong with them."""
    problems: list[str] = []
    unknown = sorted(set(what_if.policy) - set(EVICTION_POLICIES))
    if unknown:
        problems.append(f"--policy {', '.join(unknown)}: there are {', '.join(EVICTION_POLICIES)}")
    which = sorted(set(what_if.regional) - {"with", "without"})
    if which:
        problems.append(f"--regional {', '.join(which)}: with or without")
    problems += [f"--ttl {each:g}: at least 0" for each in what_if.ttl if not 0 <= each <= 31_536_000]
    sizes = {"memory": what_if.memory, "regional-memory": what_if.regional_memory}
    problems += [
        f"--{name} {text}: a size such as 64MiB, from 16KiB to 1TiB"
        for name, texts in sizes.items()
        for text in texts
        if _bytes_of(text) is None
    ]
    if problems:
        raise UsageError("; ".join(problems))
    return Choices(
        edge_bytes=[_bytes_of(each) or 0 for each in what_if.memory],
        regional_bytes=[_bytes_of(each) or 0 for each in what_if.regional_memory],
        policies=what_if.policy,
        ttl_seconds=what_if.ttl,
        pops=what_if.pops,
        has_regional=[each == "with" for each in what_if.regional],
        shields=[None if each == "none" else each for each in what_if.shield],
    )


def _bytes_of(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2]]) if match is not None else 0
    return size if _SMALLEST_BYTES <= size <= _LARGEST_BYTES else None
