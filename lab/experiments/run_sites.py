"""Makes a scenario's distributions at the management API: policies first, then what uses them, then until every node has them."""

import time
from collections.abc import Mapping

from lab.clients.management_api import Distribution, ManagementApi
from lab.scenarios.site import Site


def create_sites(
    api: ManagementApi, sites: tuple[Site, ...], origin_addresses: Mapping[str, str]
) -> dict[str, Distribution]:
    """By the names of the sites; all of them are deployed. LabError when one is refused or does not get everywhere."""
    made = {site.name: create_site(api, site, origin_addresses) for site in sites}
    for distribution in made.values():
        api.wait_deployed(distribution.id)
    return made


def create_site(api: ManagementApi, site: Site, origin_addresses: Mapping[str, str]) -> Distribution:
    """Returns at once, as creating does."""
    reference = f"{site.name}-{time.time_ns()}"
    names = [rule.name for rule in site.rules if rule.name]
    policies = {
        rule.name: api.create_cache_policy(rule.policy(f"{reference}-{names.index(rule.name)}"))
        for rule in site.rules
        if rule.name
    }
    config = site.to_api(reference, origin_addresses, policies)
    return api.create(config, site.tags)
