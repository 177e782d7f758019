"""Generates the stubs beside each .proto file; `--check` only says whether the committed ones are what would be generated.

python proto/generate.py            write them
python proto/generate.py --check    exit status 1, and which, when one is stale, missing or of no .proto file any more
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROTO = REPOSITORY / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
PROTOC_SECONDS = 60


class GenerationError(Exception):
    """protoc refused; the message is its own."""


def generate(output: Path) -> None:
    """All stubs into `output`, in the same folders as below the repository."""
    sources = sorted(str(path.relative_to(REPOSITORY)) for path in PROTO.rglob("*.proto"))
    services = [source for source in sources if _has_service(REPOSITORY / source)]
    out = str(output)
    _protoc([f"--python_out={out}", f"--mypy_out={out}"], sources)
    _protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out={out}"], services)


def stubs(root: Path) -> dict[Path, bytes]:
    """Every generated file below a folder that has `proto` in it."""
    paths = (path for pattern in GENERATED for path in (root / "proto").rglob(pattern))
    return {path.relative_to(root): path.read_bytes() for path in paths}


def find_stale(committed: dict[Path, bytes], fresh: dict[Path, bytes]) -> list[Path]:
    """Files that differ, are missing, or should not be there."""
    return sorted(path for path in committed.keys() | fresh.keys() if committed.get(path) != fresh.get(path))


def _has_service(path: Path) -> bool:
    return any(line.startswith("service ") for line in path.read_text(encoding="utf-8").splitlines())


def _protoc(options: list[str], sources: list[str]) -> None:
    # The plugins of mypy-protobuf are installed beside the interpreter.
    folder = Path(sys.executable).parent
    plugins = [f"--plugin={name}={folder / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", *plugins, *options, *sources]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PROTOC_SECONDS, check=False)
    if done.returncode != 0:
        raise GenerationError(done.stderr.strip())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python proto/generate.py", description="Generate the stubs of the contract.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a committed stub is stale")
    is_check = parser.parse_args(arguments).check
    with tempfile.TemporaryDirectory() as folder:
        try:
            generate(Path(folder))
        except GenerationError as error:
            print(error, file=sys.stderr)
            return 1
        stale = find_stale(stubs(REPOSITORY), stubs(Path(folder)))
        if not is_check:
            _install(Path(folder), stale)
    for path in stale:
        print(f"{path}: {'stale; run `make proto`' if is_check else 'written'}")
    return 1 if is_check and stale else 0


def _install(fresh: Path, stale: list[Path]) -> None:
    for path in stale:
        target, source = REPOSITORY / path, fresh / path
        if source.exists():
            shutil.copyfile(source, target)
        else:
            target.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
