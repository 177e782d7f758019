"""Before Locust starts in containers: the quick start's distribution in front of an origin, and the load plan for it.

Runs once per `docker compose --profile load up` (service load-plan). A plan whose distribution the control plane still
has is kept, so that a second `up` loads the same distribution. What viewers do is in loadtests/.
"""

import argparse
import json
import sys
import urllib.request
from pathlib import Path

from lab.clients.management_api import ManagementApi
from lab.cluster.container_facts import read_populations
from lab.errors import LabError
from lab.experiments.run_sites import create_site
from lab.scenarios.reader import find_scenario
from loadtests.intensity import Intensity
from loadtests.plan import LoadPlan, PlanError, parse_address, read_plan
from loadtests.workload import Population
from proto.seeds import parse_seed

# The lab's own keys, not a secret (docs/contracts.md).
API_KEYS = {"region": "us-east-1", "access_key_id": "cdnlab", "secret_access_key": "cdnlab-secret"}


def has_domain_name(admin: str, domain_name: str) -> bool:
    """Asks the control plane's operators' port, which knows every distribution by name."""
    with urllib.request.urlopen(f"{admin}/status", timeout=5) as response:  # noqa: S310  # the scheme is ours
        status = json.load(response)
    return any(each["domain_name"] == domain_name for each in status["distributions"])


def make_plan(api: ManagementApi, options: argparse.Namespace) -> LoadPlan:
    """A worker replaces router and populations by those of its own place."""
    site = find_scenario("quickstart").main_site
    distribution = create_site(api, site, dict.fromkeys(site.origins, options.origin))
    api.wait_deployed(distribution.id)
    populations = tuple(
        Population(each.region, each.client_subnet, each.users) for each in read_populations(options.populations)
    )
    router, intensity = parse_address(options.router), Intensity(seed=options.seed)
    return LoadPlan(router, distribution.domain_name, options.viewer_port, populations, intensity=intensity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", required=True, help="the management API, for example http://control-plane:4566")
    parser.add_argument("--admin", required=True, help="its operators' port, for example http://control-plane:4568")
    parser.add_argument("--origin", required=True, help="host:port, as other containers name it")
    parser.add_argument("--router", required=True, help="host:port of one, in any place")
    parser.add_argument("--viewer-port", required=True, type=int, help="of edges")
    parser.add_argument("--populations", required=True, metavar="'REGION SUBNET USERS, ...'", help="viewers")
    parser.add_argument("--output", required=True, type=Path, help="where to write the load plan")
    parser.add_argument("--seed", type=parse_seed, default=0, metavar="N", help="the lab's")
    options = parser.parse_args()
    api = ManagementApi({"endpoint": options.api, **API_KEYS})
    try:
        if options.output.exists() and has_domain_name(options.admin, read_plan(options.output).domain_name):
            return
        options.output.write_text(make_plan(api, options).to_json(), encoding="utf-8")
    except (LabError, PlanError, OSError) as error:
        sys.exit(str(error))
    finally:
        api.close()


if __name__ == "__main__":
    main()
