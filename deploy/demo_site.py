"""Once a lab in containers is up: the demo site in front of an origin, so that there is something to see (service `demo-site`).

The same that `cdnlab up` makes. One that is there is kept, so that a second `docker compose up` shows the same site.
"""

import argparse
import sys

from lab.clients.management_api import ManagementApi
from lab.errors import LabError
from lab.experiments.demo_site import ensure_demo_site
from lab.topology.layout import ACCESS_KEY_ID, API_REGION, SECRET_ACCESS_KEY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", required=True, help="the management API, for example http://control-plane:4566")
    parser.add_argument("--origin", required=True, help="host:port, as other containers name it")
    options = parser.parse_args()
    keys = {"region": API_REGION, "access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}
    try:
        with ManagementApi({"endpoint": options.api, **keys}) as api:
            distribution = ensure_demo_site(api, options.origin)
    except LabError as error:
        sys.exit(str(error))
    print(f"{distribution.id} is deployed: {distribution.domain_name}")


if __name__ == "__main__":
    main()
