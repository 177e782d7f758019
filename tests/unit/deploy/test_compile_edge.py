"""`make compiled` where it cannot work says what is missing, and that nothing depends on it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deploy import compile_edge


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "no-such-compiler -pthread" if name == "CC" else None)
    assert compile_edge.why_not_possible().startswith(
        "there is no C compiler (no-such-compiler). On Debian and Ubuntu:"
    )


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: sys.executable)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert f"the headers of this Python are missing ({tmp_path}/Python.h)" in compile_edge.why_not_possible()
    (tmp_path / "Python.h").touch()
    assert compile_edge.why_not_possible() == ""


def test_who_cannot_compile_is_told_that_edges_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_edge, "why_not_possible", lambda: "there is no C compiler")
    monkeypatch.setattr(compile_edge, "modules_folder", lambda _: tmp_path / "none")
    monkeypatch.setattr(sys, "argv", ["compile_edge"])
    assert compile_edge.main() == 1
    assert capsys.readouterr().err == (
        "make compiled: there is no C compiler\nEdges run from their source without it, somewhat slower.\n"
    )
    monkeypatch.setattr(sys, "argv", ["compile_edge", "--check"])
    assert compile_edge.main() == 1
    assert capsys.readouterr().out == "there is no C compiler\n"


def test_what_is_left_as_source_is_there() -> None:
    """A module that was moved or renamed must not be compiled by mistake."""
    assert [name for name in compile_edge.LEFT_AS_SOURCE if not (compile_edge.PACKAGE / name).is_file()] == []


def test_in_the_background_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(compile_edge, "why_not_possible", lambda: "")
    monkeypatch.setattr(compile_edge, "modules_folder", lambda _: tmp_path / "none")
    monkeypatch.setattr(compile_edge, "ROOT", tmp_path)
    monkeypatch.setattr(compile_edge, "BUILD", tmp_path / "build")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    monkeypatch.setattr(sys, "argv", ["compile_edge", "--in-background"])
    assert compile_edge.main() == 0
    assert started == [["nice", "-n", "19", sys.executable, "-m", "deploy.compile_edge"]]
    assert "being compiled meanwhile (build/compile.log)" in capsys.readouterr().out


def test_in_the_background_nothing_is_begun_where_it_cannot_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_edge, "why_not_possible", lambda: "there is no C compiler")
    monkeypatch.setattr(sys, "argv", ["compile_edge", "--in-background"])
    assert compile_edge.main() == 0
    assert capsys.readouterr().out == "Edges run from their source: there is no C compiler\n"


def test_modules_of_sources_that_changed_while_they_were_compiled_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "before", tmp_path / "after"]
    monkeypatch.setattr(compile_edge, "modules_folder", lambda _: folders[0])
    monkeypatch.setattr(compile_edge, "BUILD", tmp_path / "build")

    def compile_and_edit(folder: Path, work: Path) -> None:
        del work
        folder.mkdir()
        folders.pop(0)

    monkeypatch.setattr(compile_edge, "compile_modules", compile_and_edit)
    assert compile_edge._compile() == 1
    assert not (tmp_path / "before").exists() and "changed meanwhile" in capsys.readouterr().err


def test_what_reads_the_contract_is_left_as_source() -> None:
    """An image compiles without the types of protobuf."""
    readers = [path for path in compile_edge.PACKAGE.rglob("*.py") if "from proto.cdn.v1 import" in path.read_text()]
    names = {path.relative_to(compile_edge.PACKAGE).as_posix() for path in readers}
    assert names and names <= {*compile_edge.LEFT_AS_SOURCE}
