"""The workflow that users copy (docs/examples/github-actions.yml) is one of GitHub Actions, and what it calls is there.

Keys are those of "Workflow syntax for GitHub Actions"; a key that is not in these tables is a mistake, or belongs into them. Scripts are parsed by bash, and commands of
cdnlab by cdnlab.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.scenarios.shipped import shipped_scenarios

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs/examples/github-actions.yml"
WORKFLOW_KEYS = {"name", "on", "permissions", "env", "concurrency", "defaults", "jobs"}
EVENTS = {"push", "pull_request", "schedule", "workflow_dispatch"}
JOB_KEYS = {"name", "needs", "if", "runs-on", "timeout-minutes", "strategy", "env", "steps", "permissions"}
STEP_KEYS = {"id", "name", "if", "uses", "run", "with", "env", "shell", "timeout-minutes", "working-directory"}
INPUTS = {
    "actions/checkout": {"ref", "fetch-depth", "path"},
    "actions/setup-python": {"python-version", "cache"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found", "retention-days"},
}
CONTEXTS = {"vars", "matrix", "env", "github", "secrets", "runner"}
EXPRESSION = re.compile(r"\$\{\{\s*([a-z]+)\.[A-Za-z_][A-Za-z0-9_-]*\s*\}\}")


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    """All scalars as text: `on` is no truth value here."""
    document = yaml.load(EXAMPLE.read_text(), Loader=yaml.BaseLoader)  # only text, nothing is built of it
    assert isinstance(document, dict)
    return document


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def scripts_of(workflow: dict[str, Any]) -> list[str]:
    """With a word for each expression, as the runner puts its value in its place."""
    return [EXPRESSION.sub("quickstart", step["run"]) for step in steps_of(workflow) if "run" in step]


def test_all_keys_are_those_of_a_workflow(workflow: dict[str, Any]) -> None:
    assert workflow.keys() <= WORKFLOW_KEYS and {"on", "jobs"} <= workflow.keys()
    assert workflow["on"].keys() <= EVENTS
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job.keys() <= JOB_KEYS and {"runs-on", "steps", "timeout-minutes"} <= job.keys()
    for step in steps_of(workflow):
        assert step.keys() <= STEP_KEYS and ("run" in step) is not ("uses" in step)


def test_each_action_is_pinned_and_gets_inputs_that_it_has(workflow: dict[str, Any]) -> None:
    for step in steps_of(workflow):
        if "uses" in step:
            name, _, version = step["uses"].partition("@")
            assert re.fullmatch(r"v\d+", version)
            assert step.get("with", {}).keys() <= INPUTS[name]


def test_each_expression_is_closed_and_of_a_known_context(workflow: dict[str, Any]) -> None:
    text = EXAMPLE.read_text()
    found = EXPRESSION.findall(text)
    assert set(found) <= CONTEXTS and len(found) == text.count("${{")
    names = set(re.findall(r"matrix\.([a-z-]+)", text))
    assert names == set(workflow["jobs"]["scenario"]["strategy"]["matrix"])


def test_scripts_are_bash(workflow: dict[str, Any]) -> None:
    for script in scripts_of(workflow):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_what_is_run_is_there(workflow: dict[str, Any]) -> None:
    assert set(workflow["jobs"]["scenario"]["strategy"]["matrix"]["scenario"]) <= set(shipped_scenarios())
    lines = [line for script in scripts_of(workflow) for line in script.splitlines() if line.startswith("cdnlab ")]
    assert lines
    for line in lines:
        options = [word for word in shlex.split(line)[2:] if word.startswith("--")]
        command = [sys.executable, "-m", "lab.cli", shlex.split(line)[1], "--help"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert all(option in told for option in options)
    assert any("make -C" in script and "setup" in script for script in scripts_of(workflow))
