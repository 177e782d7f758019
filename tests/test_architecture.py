"""The import rules of docs/architecture.md, and the shape rules of the house, checked against the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("edge_node", "control_plane", "dns_router", "origin")
BLACK_BOX_USERS = ("lab", "loadtests", "console")
OURS = (*PROGRAMS, *BLACK_BOX_USERS, "proto", "deploy")

EDGE_LAYERS = (
    {"code_loader"},
    {"model"},
    {"http"},
    {"caching"},
    {"policy"},
    {"storage", "upstream"},
    {"settings", "fill"},
    {"delivery"},
    {"stages"},
    {"pipeline"},
    {"listeners", "control", "observability"},
    {"node"},
    {"__main__"},
)
"""From the pure middle to the rim: a module imports only from its own layer's package or from those before it; packages of one layer do not know each other."""

LAYERS = {
    "edge_node": EDGE_LAYERS,
    "control_plane": (
        {
            "api_channel",
            "api_faults",
            "clock_columns",
            "commit_ages",
            "compiler",
            "connection_limit",
            "database",
            "geo_table",
            "injected_faults",
            "leadership",
            "leases",
            "migrations",
            "nodes",
            "process_logs",
            "request_counts",
            "settings",
            "state",
            "tables",
            "trouble",
        },
        {
            "admission",
            "api_child",
            "credentials",
            "due_checks",
            "entry_batches",
            "fencing",
            "http2_frames",
            "listening",
        },
        {"directory", "grpc_wire", "history", "http2_heads", "receipts", "resource_kinds"},
        {"change_log", "checksums", "grpc_calls", "grpc_stream", "http2_connection", "invalidation_rows", "unsaved"},
        {"succession"},
        {
            "coordination",
            "grpc_client_call",
            "grpc_server_call",
            "grpc_services",
            "log_rows",
            "postgres",
            "resource_rows",
            "schema",
            "tls_server",
        },
        {
            "acknowledgement_saving",
            "grpc_client",
            "grpc_connection",
            "metrics",
            "session_messages",
            "store",
            "streams",
            "web",
        },
        {"aws_api", "backup", "election", "grpc_port", "lab_time", "ledger", "published_tables", "sync"},
        {"deployment", "node_faults", "roles"},
        {"admin", "api_process", "leader_channel", "term"},
        {"relay"},
        {"server"},
        {"__main__"},
    ),
    "dns_router": (
        {"model"},
        {"client_subnets", "counters", "query_wire", "sockets"},
        {"command_line", "routing", "response_wire", "slow_wire"},
        {"zone"},
        {"translation"},
        {"configuration", "responder"},
        {"applier", "listeners", "metrics"},
        {"admin", "history", "injected_faults"},
        {"server"},
        {"__main__"},
    ),
    "origin": (
        {"errors"},
        {"gates", "lab_clock", "log_file", "messages", "tcp", "transport_stream"},
        {"footage"},
        {"conditions", "patterns", "request_log", "request_reader", "s3_errors", "stamps", "wire"},
        {"behaviors", "history_rows"},
        {"admin", "api", "bucket", "delivery", "downloads", "hls", "images", "misbehave"},
        {"bucket_listing", "connection", "echo", "website"},
        {"bucket_api"},
        {"scenarios"},
        {"metrics"},
        {"node"},
        {"server"},
        {"__main__"},
    ),
    "lab": (
        {
            "api_server",
            "errors",
            "interrupts",
            "load_profiles",
            "runner",
            "shells",
            "streams",
            "terminal",
        },
        {"clients", "durations", "topology"},
        {"regression_options", "run_options"},
        {"history", "prediction"},
        {"checkers"},
        {"cluster", "report"},
        {"faults", "wan"},
        {"agent", "scenarios"},
        {"experiments"},
        {"regression"},
        {"command_line", "commands"},
        {"fault_commands", "prediction_commands", "regression_commands", "run_commands", "time_commands"},
        {"cli"},
    ),
    "loadtests": (
        {
            *("bounded_fields", "connection", "playback", "resuming", "run_clocks", "seconds"),
            *("traces", "trickle", "workload"),
        },
        {"popular_objects", "schedule", "slow_connection", "stages"},
        {"intensity", "profile_options"},
        {"catalogue", "plan", "request_choice"},
        {"load_shape", "name_resolution", "seats"},
        {"histories"},
        {"exchange"},
        {"request_row"},
        {"request_block"},
        {"block_file", "request_columns"},
        {"request_history"},
        {"recording"},
        {"viewer"},
        {"users"},
        {"profiles"},
        {
            *("api", "cache_busting", "conditional", "download", "flash_crowd"),
            *("mixed", "objects", "slow_readers", "video", "website"),
        },
    ),
    "deploy": (
        {
            "addresses",
            "certificates",
            "compile_edge",
            "compose_files",
            "demo_site",
            "healthcheck",
            "load_plan",
            "relay_addresses",
        },
    ),
}
"""The same of every program, true of it today: a module imports only from its own package or from layers before its own."""

PURE = {
    "edge_node/upstream/health.py": set(),
    "edge_node/model": set(),
    "edge_node/http": set(),
    "edge_node/caching": set(),
    "edge_node/policy": set(),
    "edge_node/storage/eviction": set(),
    "edge_node/storage/memory.py": set(),
    "edge_node/control/journal_codec.py": set(),
    "dns_router/routing.py": set(),
    "loadtests/exchange.py": set(),
    "loadtests/request_block.py": set(),
    "loadtests/request_columns.py": set(),
    "loadtests/request_row.py": set(),
    "loadtests/workload.py": {"random"},  # the type of the generator that it is given
    "loadtests/bounded_fields.py": set(),
    "loadtests/catalogue.py": set(),
    "loadtests/intensity.py": set(),
    "loadtests/popular_objects.py": set(),
    "loadtests/profile_options.py": set(),
    "loadtests/request_choice.py": {"random"},  # the type of the generator that it is given
    "loadtests/schedule.py": {"random"},  # the type of the generator that it is given
    "loadtests/stages.py": set(),
    "loadtests/trickle.py": set(),
    "loadtests/traces/cloudfront_log.py": set(),
    "loadtests/traces/csv_trace.py": set(),
    "loadtests/traces/har.py": set(),
    "loadtests/traces/moments.py": set(),
    "loadtests/traces/oracle_general.py": set(),
    "loadtests/traces/time_order.py": set(),
    "loadtests/traces/trace_formats.py": set(),
    "loadtests/traces/trace_lines.py": set(),
    "loadtests/traces/trace_reading.py": set(),
    "loadtests/traces/trace_request.py": set(),
    "lab/scenarios/figures.py": set(),
    "lab/scenarios/fitting.py": set(),
    "lab/experiments/journal_checks.py": set(),
    "lab/scenarios/load_entry.py": set(),
    "lab/scenarios/probe_arguments.py": set(),
    "lab/experiments/receipts.py": set(),
    "lab/scenarios/scenario.py": set(),
    "lab/scenarios/sites.py": set(),
    "lab/scenarios/values.py": set(),
    "lab/scenarios/site.py": set(),
    "lab/scenarios/steps.py": set(),
    "origin/footage/reader.py": set(),
    "origin/history_rows.py": set(),
    "origin/hls.py": set(),
    "origin/lab_clock.py": set(),
    "origin/scenarios.py": set(),
    "origin/stamps.py": set(),
    "control_plane/api_faults.py": set(),
    "origin/transport_stream.py": set(),
    "control_plane/leadership.py": set(),
    "control_plane/leases.py": set(),
    "control_plane/nodes.py": set(),
    "control_plane/directory.py": set(),
    "control_plane/commit_ages.py": set(),
    "control_plane/due_checks.py": set(),
    "control_plane/entry_batches.py": set(),
    "control_plane/grpc_calls.py": set(),
    "control_plane/grpc_client_call.py": set(),
    "control_plane/grpc_server_call.py": set(),
    "control_plane/grpc_stream.py": set(),
    "control_plane/grpc_wire.py": set(),
    "control_plane/http2_frames.py": set(),
    "control_plane/http2_heads.py": set(),
    "control_plane/streams.py": set(),
    "control_plane/receipts.py": set(),
    "control_plane/coordination.py": set(),
    "control_plane/succession.py": set(),
    "control_plane/unsaved.py": set(),
    "control_plane/compiler": set(),
    "lab/checkers": set(),
    "lab/faults/catalogue.py": set(),
    "lab/faults/fault.py": set(),
    "lab/faults/lease.py": set(),
    "lab/faults/link_catalogue.py": set(),
    "lab/faults/link_targets.py": set(),
    "lab/faults/parameters.py": set(),
    "lab/faults/partitions.py": set(),
    "lab/faults/targets.py": set(),
    "lab/prediction": {"random"},  # generators with the seeds of viewers, whose choices are told beforehand
    "lab/topology": set(),
    "lab/regression/counters.py": set(),
    "lab/regression/signed_ranks.py": set(),
    "lab/regression/subject.py": set(),
    "lab/regression/times.py": {"random"},  # a seeded generator, so that the same sessions say the same
    "lab/regression/workloads.py": {"random"},  # seeded: always the same requests
    "lab/wan/configuration.py": set(),
    "lab/wan/cuts.py": set(),
    "lab/wan/judgement.py": set(),
    "lab/wan/link_documents.py": set(),
    "lab/wan/links.py": set(),
    "lab/wan/pipes.py": set(),
    "lab/wan/proxy_protocol.py": set(),
    "lab/wan/stages.py": set(),
    "lab/wan/toxics.py": set(),
    "lab/wan/toxiproxy_documents.py": set(),
    "proto/exposition.py": set(),
    "proto/injected_faults.py": set(),
    "proto/clock_course.py": set(),
    "proto/lab_clock.py": set(),
    "proto/log_distortion.py": set(),
    "proto/log_position.py": set(),
    "proto/message_counts.py": set(),
    "proto/moments.py": set(),
    "proto/node_machine.py": set(),
    "proto/origin_stamp.py": set(),
    "proto/process_identity.py": set(),
    "proto/rejected_changes.py": set(),
    "proto/resources.py": set(),
    "proto/served_configuration.py": set(),
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

WALL_CLOCK_READERS = {
    "control_plane/aws_api/application.py": "creation times, and how old a signature is",
    "deploy/certificates.py": "how long certificates are good",
    "edge_node/storage/disk/files.py": "ages of stored responses",
    "lab/cluster/certificate_authority.py": "how long certificates are good",
    "lab/clients/management_api.py": "a reference that is not used twice",
    "lab/commands/time_show.py": "what time it is in the lab, for people",
    "lab/experiments/run_sites.py": "a reference that is not used twice",
    "origin/__main__.py": "Date and Last-Modified of HTTP, and the request log",
    "proto/clock_faults.py": "what edges are given for Date and Age of HTTP, and for the access log",
    "proto/host_clock.py": "the anchor",
}
"""Who may ask a clock that steps, and for what. What is compared between processes, or bounds something, is by the host's clock (decision 29)."""
WALL_CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
}

STUB_READERS = {
    "edge_node": {
        "resource_reader.py",
        "resource_kinds.py",
        "known_peers.py",
        "client.py",
        "injected_faults.py",
        "node.py",
    },
    "dns_router": {"applier.py", "configuration.py", "server.py", "translation.py"},
}
"""Where the generated messages may be touched: the modules that translate them."""

MOST_TUPLE_MEMBERS = 3
TUPLES_AS_KEYS = {"edge_node/storage/entry_templates.py": "tuple[int, bytes, bytes, CacheMetadata, bool]"}
"""Annotations with more members than a record may have as a tuple: keys of a dictionary, which are only ever compared as a whole."""
PLACES_OF_ANY = {
    "edge_node/caching/entry.py": "the neighbours of an entry are whatever the eviction policy links",
    "edge_node/storage/eviction/registry.py": "policies are generic over what they evict",
    "edge_node/policy/router.py": "a stage takes what is defined above this package",
    "edge_node/observability/admin.py": "JSON",
    "edge_node/observability/explain.py": "JSON",
    "edge_node/node.py": "JSON; what a coroutine yields and is sent",
    "edge_node/pipeline/exception_barrier.py": "the loop's context; what a coroutine yields and is sent",
    "edge_node/pipeline/pipeline.py": "what a coroutine yields and is sent",
    "edge_node/upstream/connections.py": "what a coroutine yields and is sent",
}
"""Where `Any` may be written in the edge node, and why there is no better type."""

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


PRODUCT_CODE_OF_PREDICTIONS = (
    "edge_node.caching",
    "edge_node.model",
    "edge_node.policy.parent_selection",
    "edge_node.storage.eviction",
    "edge_node.storage.memory",
)
"""What `lab/prediction` may import of the edge node, and nothing else of the laboratory may: pure decisions, so that a prediction is by the very code that is
predicted (decision 40). All of them are in PURE."""


def is_product_code_of_predictions(path: Path, module: str) -> bool:
    """The one exception to black boxes."""
    allowed = any(module == each or module.startswith(f"{each}.") for each in PRODUCT_CODE_OF_PREDICTIONS)
    return allowed and path.is_relative_to(ROOT / "lab" / "prediction")


@pytest.mark.parametrize("module", PRODUCT_CODE_OF_PREDICTIONS)
def test_predictions_are_by_pure_code(module: str) -> None:
    place = module.replace(".", "/")
    assert any(place.startswith(known.removesuffix(".py")) for known in PURE if not PURE[known])


@pytest.mark.parametrize("package", BLACK_BOX_USERS)
def test_the_laboratory_treats_programs_as_black_boxes(package: str) -> None:
    wrong = [
        f"{name_of(p)}:{line} imports {m}"
        for p in source_files(package)
        for m, line in imports_of(p)
        if m.split(".")[0] in PROGRAMS and not is_product_code_of_predictions(p, m)
    ]
    assert not wrong


def layer_of(program: str, module: str) -> int:
    layers = [number for number, names in enumerate(LAYERS[program]) if module in names]
    assert len(layers) == 1, f"{program}/{module} is in {len(layers)} layers: put it in one of LAYERS"
    return layers[0]


def inner_imports_of(path: Path, program: str) -> Iterator[tuple[str, int]]:
    """The modules and packages at the top of a program that a file of it imports, also as `from program import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == program:
            found = [f"{program}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found = [node.module]
        else:
            continue
        for name in found:
            parts = name.split(".")
            top = ROOT / program / parts[1] if len(parts) > 1 else None
            if parts[0] == program and top is not None and (top.is_dir() or top.with_suffix(".py").is_file()):
                yield parts[1], node.lineno


@pytest.mark.parametrize("program", sorted(LAYERS))
def test_a_program_imports_only_inward(program: str) -> None:
    wrong = []
    for path in source_files(program):
        own = path.relative_to(ROOT / program).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other, line in inner_imports_of(path, program):
            if other != own and layer_of(program, other) >= layer_of(program, own):
                wrong.append(f"{name_of(path)}:{line} imports {other}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("program", sorted(LAYERS))
def test_every_layer_names_what_is_there(program: str) -> None:
    there = {
        path.name.removesuffix(".py")
        for path in (ROOT / program).iterdir()
        if path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }
    named = {name for names in LAYERS[program] for name in names}
    assert named == there


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


def test_only_who_says_why_reads_a_clock_that_steps() -> None:
    readers = {
        name_of(path)
        for path in source_files(*OURS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if (node.value.id, node.attr) in WALL_CLOCKS
    }
    assert readers == set(WALL_CLOCK_READERS)


def test_no_program_counts_by_a_clock_that_stands_still_in_suspend() -> None:
    """A lease by time.monotonic would outlive the sleep of a laptop. Timers of the event loop may, since they only wake whoever looks at the host's clock."""
    readers = {
        name_of(path)
        for path in source_files(*PROGRAMS, "proto")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "time" and node.attr in ("monotonic", "monotonic_ns", "perf_counter")
    }
    assert not readers


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
    """A command of the command line, whose parameters are its options; or an action of Chaos Toolkit, whose parameters are the arguments of a file."""
    is_action = any(argument.arg == "configuration" for argument in node.args.args)
    return is_action or any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def fixed_tuples_of(path: Path) -> Iterator[tuple[str, int]]:
    """Each `tuple[A, B, ...]` with a fixed number of members, as it is written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tuple" and isinstance(node.slice, ast.Tuple):
            members = node.slice.elts
            if not (isinstance(members[-1], ast.Constant) and members[-1].value is ...):
                yield ast.unparse(node), len(members)


def test_no_tuple_of_the_edge_node_stands_for_a_record() -> None:
    """DESIGN section 11: three members at most; what is more has names."""
    long = [
        (name_of(path), text)
        for path in source_files("edge_node")
        for text, members in fixed_tuples_of(path)
        if members > MOST_TUPLE_MEMBERS
    ]
    assert sorted(long) == sorted(TUPLES_AS_KEYS.items())


def test_no_parameter_of_the_edge_node_is_several() -> None:
    """A tuple that is only there to have no seventh parameter is taken apart at once: `a, b = pair`."""
    wrong = []
    for path in source_files("edge_node"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                wrong += [f"{name_of(path)}:{function.lineno} {name}" for name in taken_apart(function)]
    assert not wrong


def taken_apart(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The parameters that are fixed tuples by their annotation, and that the function unpacks."""
    tuples = {
        argument.arg
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.annotation is not None and ast.unparse(argument.annotation).startswith("tuple[")
    }
    for node in function.body:
        match node:
            case ast.Assign(targets=[ast.Tuple()], value=ast.Name(id=name)) if name in tuples:
                yield name


def test_any_is_written_where_there_is_no_better_type() -> None:
    places = {
        name_of(path)
        for path in source_files("edge_node")
        if any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(path.read_text())))
    }
    assert places == set(PLACES_OF_ANY)


def test_constants_that_tests_set_are_not_final() -> None:
    """Compiled code has the value of a Final constant in it: what a test sets would be noticed by nobody (decision 13)."""
    setting = re.compile(r'setattr\(\s*(?:[\w.]+\s*,\s*)?"(?:[\w.]*\.)?([A-Z][A-Z0-9_]+)"')
    set_by_tests = {name for path in source_files("tests") for name in setting.findall(path.read_text())}
    final = {
        node.target.id
        for path in source_files("edge_node")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "Final"
    }
    assert set_by_tests and not set_by_tests & final


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
