"""Every checker by its name: what it says, whom it believes, and what it takes. Scenarios choose from this table.

A choice is a name, or a name with parameters: `availability: {at_least: 0.999, outside_of_faults: true}`. The same checker may be chosen twice, under
another name each (`as`). `judge` puts together what was found and what is known of the witnesses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.checkers.agreement import tiers_agree
from lab.checkers.bodies import bodies
from lab.checkers.collapse import collapse
from lab.checkers.configuration import configuration_monotonic
from lab.checkers.durability import durability
from lab.checkers.freshness import freshness_after_receipts
from lab.checkers.hits import hit_ratio, tiers_serve
from lab.checkers.judgement import Judgement
from lab.checkers.objectives import LIMITS, availability, errors, latency, statuses
from lab.checkers.parameters import Kind, Parameter, Value, choice, count, duration, flag, share, values_of
from lab.checkers.privacy import privacy
from lab.checkers.recovery import recovery
from lab.checkers.routing import departure, returning
from lab.checkers.staleness import staleness
from lab.checkers.verdict import Check, Evidence, Outcome
from lab.checkers.versions import versions_after_receipts
from lab.checkers.witnesses import witnesses_of
from lab.history.explanation import explain
from lab.history.reader import History


@dataclass(frozen=True, slots=True)
class Checker:
    """One promise."""

    judge: Callable[..., Judgement]
    """Of a history and the values of the parameters by name."""
    statement: str
    witnesses: tuple[str, ...]
    """Tables without which nothing is known."""
    parameters: tuple[Parameter, ...] = ()
    accusers: tuple[str, ...] = ()
    """Tables whose rows are wrong whatever is missing beside them: only what all other witnesses say can excuse them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A checker that a scenario wants, with all of its parameters."""

    name: str
    """Of the check: that of the checker, unless it was given another one."""
    checker: str
    values: Mapping[str, Value] = field(default_factory=dict)


def _latency(history: History, region: Any, when: str, until: str, **limits: float | None) -> Judgement:
    given = {name: limits[f"{name}_ms"] for name in LIMITS}
    return latency(history, {name: limit for name, limit in given.items() if limit is not None}, region, when, until)


_REGION = Parameter("region", Kind.NAMES, "*", "of viewers; each by itself")
_WHEN = (
    flag("outside_of_faults", "only requests that were under way while no fault was in force"),
    flag("inside_of_faults", "only the others"),
)
_SETTLE = duration("settle_seconds", 0.0, "for how long after its end a fault counts as in force")
_MINIMUM_TTL = duration("minimum_ttl_seconds", 0.0, "of the cache policy")
_BY_REQUESTS = ("requests",)
_LEASE = duration("lease_seconds", 5.0, "of the topology")

CHECKERS: Mapping[str, Checker] = {
    "freshness_after_receipts": Checker(
        freshness_after_receipts,
        "No request begun after an invalidation's receipt got what the origin had made before the invalidation was issued.",
        ("requests", "invalidations", "origin_requests", "leases", "nodes"),
        (
            choice("query_strings", ("in_key", "not_in_key"), "whether the cache policy has query strings in the key"),
            flag("every_receipt", "each invalidated pattern must have been asked for after its receipt"),
            flag("strict_invalidation", "nodes that hear only each other are judged as well (docs/invalidation.md)"),
        ),
        _BY_REQUESTS,
    ),
    "versions_after_receipts": Checker(
        versions_after_receipts,
        "No request begun after a receipt got a version from before the write that the invalidation followed.",
        ("requests", "invalidations", "writes", "origin_requests"),
        accusers=_BY_REQUESTS,
    ),
    "staleness": Checker(
        staleness,
        "No answer was older than its freshness lifetime and its stale windows allow.",
        ("requests", "fills", "served", "origin_requests", "nodes"),
        (
            _MINIMUM_TTL,
            duration("default_ttl_seconds", 86_400.0, "of the cache policy"),
            duration("maximum_ttl_seconds", 31_536_000.0, "of the cache policy"),
        ),
        _BY_REQUESTS,
    ),
    "privacy": Checker(
        privacy,
        "Nothing that was made for one person was given to another, and nothing private came from a cache.",
        ("requests",),
        (_MINIMUM_TTL,),
        _BY_REQUESTS,
    ),
    "bodies": Checker(
        bodies,
        "Every whole body is that of a version which its origin has made.",
        ("requests", "origin_requests"),
        accusers=_BY_REQUESTS,
    ),
    "configuration_monotonic": Checker(
        configuration_monotonic,
        "No node went back in the log, or forgot what it had acknowledged.",
        ("applied", "acknowledgements", "invalidations", "nodes"),
    ),
    "collapse": Checker(
        collapse,
        "Nothing that can be shared was fetched twice at a time.",
        ("fills", "nodes"),
        (
            duration("bound_seconds", 5.0, "how long others wait for the head of an answer"),
            duration("hit_for_miss_seconds", 10.0, "how long nobody waits after an answer that could not be shared"),
            count("largest_bytes", 1 << 20, "bodies that are larger are not compared"),
            Parameter("not_collapsed", Kind.NAMES, (), "path patterns of behaviors that never share a fetch"),
        ),
    ),
    "departure": Checker(
        departure,
        "A dead edge left DNS answers within its lease.",
        ("dns_answers", "requests", "faults", "nodes"),
        (_LEASE, duration("margin_seconds", 3.0, "of the control plane's count, and of the way to the router")),
    ),
    "return": Checker(
        returning,
        "An edge that came back was named again only after it had caught up with the log.",
        ("dns_answers", "faults", "applied", "nodes"),
        (duration("within_seconds", 60.0, "after which it must be named again"),),
    ),
    "availability": Checker(
        availability,
        "In each region enough requests were good.",
        ("requests",),
        (
            share("at_least", 0.999, "share of good requests"),
            _REGION,
            *_WHEN,
            _SETTLE,
        ),
    ),
    "latency": Checker(
        _latency,
        "In each region requests were fast enough, from when viewers meant to ask.",
        ("requests",),
        (
            *(Parameter(f"{name}_ms", Kind.MILLISECONDS, None, f"the most that {name} may be") for name in LIMITS),
            _REGION,
            *_WHEN,
            choice("until", ("end", "first_byte"), "when a request is over"),
        ),
    ),
    "errors": Checker(
        errors,
        "No viewer saw an error, beyond what is allowed.",
        ("requests", "faults", "nodes"),
        (
            count("budget", 0, "failures that are allowed"),
            *_WHEN,
            _SETTLE,
            duration("excused_seconds", 2.0, "after a kill, for failures at that node"),
        ),
        _BY_REQUESTS,
    ),
    "statuses": Checker(
        statuses,
        "Viewers got the statuses that are allowed, and no others.",
        ("requests",),
        (
            Parameter("allowed", Kind.NAMES, ("200",), 'statuses, as "200"; `none` is no answer at all'),
            _REGION,
            *_WHEN,
            _SETTLE,
        ),
        _BY_REQUESTS,
    ),
    "recovery": Checker(
        recovery,
        "Viewers were well again in time after each fault.",
        ("requests", "faults"),
        (
            duration("within_seconds", 10.0, "the bound"),
            choice("after", ("injection", "heal"), "of what"),
            share("at_least", 1.0, "share of good requests from then on, in each region"),
        ),
    ),
    "durability": Checker(
        durability, "Nothing that was confirmed was lost.", ("writes", "origin_requests", "invalidations")
    ),
    "tiers_agree": Checker(
        tiers_agree, "One version has one body everywhere.", ("requests", "origin_requests"), accusers=_BY_REQUESTS
    ),
    "hit_ratio": Checker(
        hit_ratio,
        "The caches answered enough themselves.",
        ("served", "nodes"),
        (
            share("at_least", None, "of the whole run"),
            share("of_before", None, "of the ratio before the first fault, while it was in force"),
            choice("tier", ("edge", "regional"), "whose"),
            duration("warm_up_seconds", 0.0, "from the first answer, not counted"),
            Parameter("paths", Kind.NAMES, "*", "only what fits one of these patterns"),
        ),
    ),
    "tiers_serve": Checker(tiers_serve, "Both tiers answered from their caches.", ("served", "nodes")),
}


def choose(wanted: object, defaults: Mapping[str, Value] = {}) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """Of a list of names and of mappings from a name to parameters, or of one such mapping: the choices, and all problems.

    `defaults`: of parameters that the lab itself knows, such as `lease_seconds`.
    """
    choices: list[Choice] = []
    problems: list[str] = []
    for name, given in _items(wanted, problems):
        checker = CHECKERS.get(name)
        if checker is None:
            problems.append(f"no checker {name!r}: there are {', '.join(CHECKERS)}")
            continue
        if not isinstance(given, Mapping):
            problems.append(f"{name}: its parameters are names with values, not {given!r}")
            continue
        own_name = given.get("as", name)
        if not isinstance(own_name, str) or not own_name:
            problems.append(f"{name}: as: {own_name!r} is no name")
            continue
        values, wrong = values_of(
            checker.parameters, {key: each for key, each in given.items() if key != "as"}, defaults
        )
        problems += [f"{name}: {each}" for each in wrong + _of_all(name, values)]
        choices.append(Choice(own_name, name, values))
    names = [each.name for each in choices]
    problems += [
        f"two checks are named {each}: give one another name (as)"
        for each in sorted(set(names))
        if names.count(each) > 1
    ]
    return tuple(choices), tuple(problems)


def _items(wanted: object, problems: list[str]) -> list[tuple[str, object]]:
    items: list[tuple[str, object]] = []
    for each in [wanted] if isinstance(wanted, Mapping) else wanted if isinstance(wanted, list) else [None]:
        if isinstance(each, str):
            items.append((each, {}))
        elif isinstance(each, Mapping) and all(isinstance(name, str) for name in each):
            items += [(name, {} if given is None else given) for name, given in each.items()]
        else:
            problems.append("checkers are a list of names, or of names with their parameters")
    return items


def _of_all(name: str, values: Mapping[str, Value]) -> list[str]:
    """What is wrong with values together."""
    if name == "latency" and all(values.get(f"{each}_ms") is None for each in LIMITS):
        return [f"wants a limit: {', '.join(f'{each}_ms' for each in LIMITS)}"]
    if name == "hit_ratio" and values.get("at_least") is None and values.get("of_before") is None:
        return ["wants at_least or of_before"]
    if values.get("outside_of_faults") and values.get("inside_of_faults"):
        return ["outside_of_faults and inside_of_faults are all requests: give neither"]
    return []


def _arguments(values: Mapping[str, Value]) -> dict[str, Value]:
    """What the checker takes: `when` in place of the two flags about faults."""
    arguments = {name: value for name, value in values.items() if not name.endswith("side_of_faults")}
    if "outside_of_faults" in values:
        arguments["when"] = next((each for each in ("outside_of_faults", "inside_of_faults") if values[each]), "all")
    return arguments


def judge(history: History, choices: Sequence[Choice]) -> tuple[Check, ...]:
    """Each choice, with the way of each request in evidence."""
    checks = [_judge(history, each) for each in choices]
    explanations = explain(history, [each.id for check in checks for each in check.findings if each.id])
    return tuple(
        replace(check, findings=tuple(_with_path(each, explanations) for each in check.findings)) for check in checks
    )


def _with_path(evidence: Evidence, explanations: Mapping[str, Any]) -> Evidence:
    return replace(evidence, path=explanations.get(evidence.id or ""))


def _judge(history: History, choice: Choice) -> Check:
    checker = CHECKERS[choice.checker]
    arguments = _arguments(choice.values)
    tables = checker.witnesses if arguments.get("when", "all") == "all" else (*checker.witnesses, "faults")
    witnesses = witnesses_of(history, tables)
    if not witnesses.is_usable:
        return Check(choice.name, Outcome.UNKNOWN, checker.statement, witnesses.doubts)
    found = checker.judge(history, **arguments)
    others = witnesses_of(history, [each for each in tables if each not in checker.accusers])
    is_doubtful = bool(others.doubts if found.wrong else witnesses.doubts)
    outcome = Outcome.UNKNOWN if is_doubtful else found.outcome
    notes = [] if found.judged else ["there was nothing to judge"]
    if is_doubtful and found.wrong:
        notes.append(f"{found.wrong:,} seem wrong, which the witnesses that are not whole might excuse")
    lines = (*found.facts, *notes, *found.doubts, *witnesses.doubts, *(each.sentence for each in found.findings[:5]))
    return Check(choice.name, outcome, checker.statement, lines, found.findings, found.wrong)
