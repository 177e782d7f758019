"""Geographic restrictions: reference 6.5. Which country a viewer is in the nodes find out, by the table that `geo_table.py` reads; here is what may be asked for."""

from collections.abc import Iterator

from control_plane.compiler.countries import COUNTRY_CODES
from control_plane.compiler.problems import Config, Problem, items
from proto.cdn.v1 import configuration_pb2

NOT_RESTRICTED = "none"
_TYPES = {
    "whitelist": configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST,
    "blacklist": configuration_pb2.GeoRestriction.TYPE_DENY_LIST,
}


def restriction_problems(config: Config, root: str) -> Iterator[Problem]:
    """Everything that is wrong with the restrictions of a distribution whose defaults are filled in."""
    restriction, path = config["Restrictions"]["GeoRestriction"], f"{root}.Restrictions.GeoRestriction"
    kind, countries = restriction["RestrictionType"], items(restriction)
    if kind not in (NOT_RESTRICTED, *_TYPES):
        yield _invalid(f"{path}.RestrictionType", f"must be none, whitelist or blacklist, not {kind[:16]!r}")
    if kind == NOT_RESTRICTED and countries:
        yield _invalid(f"{path}.Items", "must be empty with the RestrictionType none")
    if kind in _TYPES and not countries:
        yield _invalid(f"{path}.Items", f"must hold at least one country with the RestrictionType {kind}")
    if len(set(countries)) != len(countries):
        yield _invalid(f"{path}.Items", "must not hold a country twice")
    for position, country in enumerate(countries):
        if country not in COUNTRY_CODES:
            yield _invalid(f"{path}.Items[{position}]", f"must be {_expected(country)}, not {country[:16]!r}")


def compile_geo_restriction(config: Config) -> configuration_pb2.GeoRestriction | None:
    """The restriction as nodes get it, None for none; it is without problems."""
    restriction = config["Restrictions"]["GeoRestriction"]
    if restriction["RestrictionType"] == NOT_RESTRICTED:
        return None
    return configuration_pb2.GeoRestriction(
        type=_TYPES[restriction["RestrictionType"]], countries=sorted(items(restriction))
    )


def _expected(country: str) -> str:
    """The service takes upper case only."""
    upper = country.upper()
    return upper if upper in COUNTRY_CODES else "a country code of ISO 3166-1 alpha-2"


def _invalid(path: str, message: str) -> Problem:
    return Problem("InvalidGeoRestrictionParameter", f"{path} {message}")
