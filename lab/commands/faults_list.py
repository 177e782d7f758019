"""`cdnlab faults list`: the catalogue. It needs no lab."""

import json

from lab.commands.status import align
from lab.faults.catalogue import CATALOGUE
from lab.faults.fault import Fault, Targets
from lab.faults.parameters import Parameter


def run(*, is_json: bool) -> int:
    if is_json:
        print(json.dumps({"faults": [fault.to_json() for fault in CATALOGUE.values()]}, indent=2))
        return 0
    rows = [(fault.name, targets_of(fault), fault.does, parameters_of(fault)) for fault in CATALOGUE.values()]
    print("\n".join(align([("FAULT", "AT", "WHAT IT DOES", "PARAMETERS"), *rows])))
    return 0


def targets_of(fault: Fault) -> str:
    """Links, or nodes: all of them, or those of one role."""
    if fault.targets is not Targets.NODES:
        return fault.targets.value
    return fault.roles[0].value if len(fault.roles) == 1 else "nodes"


def parameters_of(fault: Fault) -> str:
    """With defaults; what has to be given is in capitals."""
    return " ".join(f"{each.name}={_default(each)}" for each in fault.parameters)


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return parameter.unit.upper() or "VALUE"
    return parameter.show(parameter.default)
