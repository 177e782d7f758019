"""Which code of the edge node is run: compiled modules only where they were made from exactly these sources."""

import shutil
from pathlib import Path

import pytest

from edge_node import IS_COMPILED
from edge_node.caching import reuse
from edge_node.code_loader import SETTING, folder_to_use, modules_folder
from edge_node.listeners import fast_path


def test_the_code_that_runs_is_the_one_that_is_said_to() -> None:
    """Or the tests of the compiled modules would be tests of their source."""
    for module in (fast_path, reuse):
        assert (Path(module.__file__ or "").suffix != ".py") is IS_COMPILED


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "edge_node"
    (folder / "caching").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "caching" / "age.py").write_text("AGE = 1\n")
    return folder


def compile_as_it_is(package: Path) -> Path:
    folder = modules_folder(package)
    folder.mkdir(parents=True)
    return folder


def test_what_was_never_compiled_is_run_from_source(package: Path) -> None:
    assert folder_to_use(package, {}) is None
    assert folder_to_use(package, {SETTING: "source"}) is None


def test_compiled_modules_are_used_unless_that_is_unwanted(package: Path) -> None:
    folder = compile_as_it_is(package)
    assert folder_to_use(package, {}) == folder
    assert folder_to_use(package, {SETTING: "compiled"}) == folder
    assert folder_to_use(package, {SETTING: "source"}) is None


@pytest.mark.parametrize("change", ["edit", "new", "gone", "moved"])
def test_after_any_change_of_a_source_they_are_not(package: Path, change: str) -> None:
    compile_as_it_is(package)
    module = package / "caching" / "age.py"
    match change:
        case "edit":
            module.write_text("AGE = 2\n")
        case "new":
            (package / "more.py").write_text("")
        case "gone":
            module.unlink()
        case _:
            module.rename(package / "age.py")
    assert folder_to_use(package, {}) is None


def test_what_is_no_source_does_not_count(package: Path) -> None:
    folder = compile_as_it_is(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "age.cpython-311.pyc").write_bytes(b"x")
    assert folder_to_use(package, {}) == folder


def test_a_tree_may_be_moved(package: Path, tmp_path: Path) -> None:
    compile_as_it_is(package)
    shutil.copytree(tmp_path, tmp_path / "elsewhere" / "tree", ignore=shutil.ignore_patterns("elsewhere"))
    assert folder_to_use(tmp_path / "elsewhere" / "tree" / "edge_node", {}) is not None


def test_who_insists_is_told_what_to_do(package: Path) -> None:
    with pytest.raises(ImportError, match="there are no compiled modules of these sources: make compiled"):
        folder_to_use(package, {SETTING: "compiled"})
    with pytest.raises(ImportError, match="CDNLAB_EDGE_CODE is 'fast': it can be source, compiled or nothing"):
        folder_to_use(package, {SETTING: "fast"})
