"""`make compiled` where it cannot work says what is missing, and that nothing depends on it."""

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
