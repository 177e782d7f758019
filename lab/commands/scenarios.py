"""`cdnlab scenarios`: those that come with the lab."""

import json

from lab.durations import format_duration
from lab.scenarios.reader import find_scenario
from lab.scenarios.shipped import shipped_scenarios


def run(*, is_json: bool) -> int:
    found = [find_scenario(name) for name in shipped_scenarios()]
    if is_json:
        listed = [
            {
                "name": each.name,
                "title": each.title,
                "description": each.description,
                "topology": each.topology,
                "duration_seconds": each.duration_seconds,
                "tags": list(each.tags),
            }
            for each in found
        ]
        print(json.dumps({"scenarios": listed}, indent=2))
        return 0
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        print(f"{each.name:<{width}}  {format_duration(each.duration_seconds):>5}  {each.title}")
    return 0
