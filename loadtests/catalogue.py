"""Which profiles there are, and what of a load plan each of them takes. Pure, without Locust, so that a plan can be checked before anything is started."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loadtests.bounded_fields import unknown_keys
from loadtests.profile_options import (
    CacheBustingOptions,
    ConditionalOptions,
    FlashCrowdOptions,
    NoOptions,
    ObjectsOptions,
    OptionsError,
    SlowReadersOptions,
)
from loadtests.stages import Stage, crowd

Options = ObjectsOptions | SlowReadersOptions | NoOptions


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of viewer."""

    options: type[Options] = NoOptions
    takes_rate: bool = False
    """Whether one step is one request, so that a rate of steps is one of requests."""
    stages: Callable[[int, float], tuple[Stage, ...]] | None = None
    """Of so many users in so many seconds, if a run has none of its own; None: users stay as many as they are."""


PROFILES: Mapping[str, Profile] = {
    "website": Profile(),
    "api": Profile(takes_rate=True),
    "video": Profile(),
    "download": Profile(),
    "mixed": Profile(),
    "objects": Profile(ObjectsOptions, takes_rate=True),
    "flash-crowd": Profile(FlashCrowdOptions, takes_rate=True, stages=crowd),
    "cache-busting": Profile(CacheBustingOptions, takes_rate=True),
    "slow-readers": Profile(SlowReadersOptions),
    "conditional": Profile(ConditionalOptions, takes_rate=True),
}


def module_name(profile: str) -> str:
    """Of its locustfile."""
    return profile.replace("-", "_")


def read_options(profile: str, given: object) -> Options:
    """OptionsError with all problems, which names the profile."""
    if not isinstance(given, Mapping):
        raise OptionsError(f"options must be an object, not {given!r}")
    kind = PROFILES[profile].options
    problem = unknown_keys(given, kind)
    known = {name: value for name, value in given.items() if name in kind.__dataclass_fields__}
    try:
        options = kind(**known)
    except OptionsError as error:
        problem = "; ".join(filter(None, (problem, str(error))))
    if problem:
        raise OptionsError(f"options of profile {profile}: {problem}")
    return options


def refuse_rate(profile: str, rate: float | None) -> None:
    """OptionsError when there is a rate and the profile cannot have one."""
    if rate is None or PROFILES[profile].takes_rate:
        return
    those = ", ".join(name for name, each in PROFILES.items() if each.takes_rate)
    raise OptionsError(
        f"profile {profile} takes no rate, because its step is not one request: say users (a rate is for {those})"
    )
