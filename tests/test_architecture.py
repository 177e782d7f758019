"""The import rules of docs/architecture.md, and the shape rules of the house, checked against the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("edge_node", "control_plane", "dns_router", "origin")
BLACK_BOX_USERS = ("lab", "loadtests", "console")
OURS = (*PROGRAMS, *BLACK_BOX_USERS, "proto")

EDGE_LAYERS = (
    {"errors", "compiled", "resident_memory"},
    {"model"},
    {"caching"},
    {"policy"},
    {"counters", "storage", "compressing", "variants", "completion", "failures"},
    {"upstream"},
    {"transfers", "access_log", "serving_state", "request_ids", "sending", "shelf", "settings"},
    {"recording", "exception_barrier", "exchange", "keeping", "stores", "invalidation_journal"},
    {"exchange_records", "confirming", "hits", "short_way", "reception"},
    {"fills", "requests"},
    {"fetches", "asking"},
    {"plain_fetches"},
    {"pipeline"},
    {"listeners"},
    {"configuration", "explain", "metrics"},
    {"admin", "control_client"},
    {"node"},
    {"__main__"},
)
"""From the pure middle to the rim: a module imports only from its own layer (its own package) or from those before it."""

PURE = {
    "edge_node/caching": set(),
    "edge_node/policy": set(),
    "edge_node/model.py": set(),
    "edge_node/upstream/health.py": set(),
    "edge_node/errors.py": set(),
    "dns_router/routing.py": set(),
    "loadtests/workload.py": {"random"},  # the type of the generator that it is given
    "origin/scenarios.py": set(),
    "control_plane/leases.py": set(),
    "control_plane/nodes.py": set(),
    "control_plane/receipts.py": set(),
    "control_plane/coordination.py": set(),
    "control_plane/compiler": set(),
    "proto/node_machine.py": set(),
}
"""Modules that decide, with the forbidden modules that each may import all the same."""
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "time",
    "random",
    "os",
    "logging",
    "grpc",
    "subprocess",
    "threading",
    "select",
    "ssl",
    "secrets",
}

STUB_READERS = {
    "edge_node": {"configuration.py", "control_client.py", "node.py"},
    "dns_router": {"applier.py", "configuration.py", "server.py", "state_files.py", "translation.py"},
}
"""Where the generated messages may be touched: the modules that translate them."""

LONGEST_FUNCTION_LINES = 50
LONGEST_FILE_LINES = 400
MOST_PARAMETERS = 6


def source_files(*packages: str) -> list[Path]:
    return [
        path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
    ]


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, node.lineno


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PROGRAMS)
def test_programs_share_only_the_contract(package: str) -> None:
    others = set(OURS) - {package, "proto"}
    wrong = [
        f"{name_of(p)}:{line} imports {m}"
        for p in source_files(package)
        for m, line in imports_of(p)
        if m.split(".")[0] in others
    ]
    assert not wrong


@pytest.mark.parametrize("package", BLACK_BOX_USERS)
def test_the_laboratory_treats_programs_as_black_boxes(package: str) -> None:
    wrong = [
        f"{name_of(p)}:{line} imports {m}"
        for p in source_files(package)
        for m, line in imports_of(p)
        if m.split(".")[0] in PROGRAMS
    ]
    assert not wrong


def layer_of(module: str) -> int:
    return next(number for number, names in enumerate(EDGE_LAYERS) if module in names)


def test_edge_node_imports_only_inward() -> None:
    wrong = []
    for path in source_files("edge_node"):
        own = path.relative_to(ROOT / "edge_node").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module, line in imports_of(path):
            if module.startswith("edge_node."):
                other = module.split(".")[1]
                if other != own and layer_of(other) >= layer_of(own):
                    wrong.append(f"{name_of(path)}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize("place", sorted(PURE))
def test_decisions_import_no_clock_socket_or_chance(place: str) -> None:
    path = ROOT / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files and all(file.exists() for file in files), f"{place} is gone: update PURE"
    wrong = [
        f"{name_of(f)}:{line} imports {module}"
        for f in files
        for module, line in imports_of(f)
        if module.split(".")[0] in IMPURE_MODULES - PURE[place]
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(STUB_READERS))
def test_generated_stubs_go_no_deeper_than_their_translators(package: str) -> None:
    wrong = [
        f"{name_of(p)}:{line} imports {m}"
        for p in source_files(package)
        for m, line in imports_of(p)
        if m.startswith("proto.cdn") and p.name not in STUB_READERS[package]
    ]
    assert not wrong


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    modules = {
        name_of(p).removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in source_files(*OURS)
    }
    for module, path in modules.items():
        graph[module] = {m for m, _ in imports_of(path) if m in modules and m != module}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"import cycle: {' -> '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_functions_and_files_stay_short() -> None:
    wrong = []
    for path in source_files(*OURS):
        text = path.read_text()
        if text.count("\n") > LONGEST_FILE_LINES:
            wrong.append(f"{name_of(path)} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                parameters = [
                    a.arg
                    for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                    if a.arg not in ("self", "cls")
                ]
                if lines > LONGEST_FUNCTION_LINES:
                    wrong.append(f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines")
                if len(parameters) > MOST_PARAMETERS and node.name != "__init__" and not is_command(node):
                    wrong.append(f"{name_of(path)}:{node.lineno} {node.name} has {len(parameters)} parameters")
    assert not wrong, "\n".join(wrong)


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A command of the command line: its parameters are its options."""
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(p)
        for p in source_files(*OURS)
        if p.read_text().strip() and ast.get_docstring(ast.parse(p.read_text())) is None
    ]
    assert not silent


def test_there_are_no_imports_inside_functions() -> None:
    wrong = [
        f"{name_of(path)}:{inner.lineno}"
        for path in source_files(*OURS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert not wrong
