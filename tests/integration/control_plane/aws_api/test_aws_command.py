"""The real `aws` command against the API: what people type."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_builders import distribution_config
from tests.integration.api_server import ApiServer, running_api

AWS = Path(sys.executable).with_name("aws")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with running_api(tmp_path / "state") as server:
        yield server


@pytest.fixture
def aws(api: ApiServer, tmp_path: Path) -> Command:
    configuration = tmp_path / "aws-config"
    configuration.write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "cdnlab",
        "AWS_SECRET_ACCESS_KEY": "cdnlab-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(configuration),
        "AWS_SHARED_CREDENTIALS_FILE": str(configuration),
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }

    def run(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        command = [str(AWS), "--endpoint-url", api.endpoint, "--output", "json", "cloudfront", *arguments]
        return subprocess.run(
            command, env={**environment, **changes}, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def answer(completed: "subprocess.CompletedProcess[str]") -> Any:
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout) if completed.stdout else None


@pytest.mark.slow
def test_from_creation_to_deletion(api: ApiServer, aws: Command, tmp_path: Path) -> None:
    configuration = tmp_path / "distribution.json"
    configuration.write_text(json.dumps(distribution_config()))
    created = answer(aws("create-distribution", "--distribution-config", f"file://{configuration}"))
    identifier = created["Distribution"]["Id"]
    api.apply_everywhere()
    answer(aws("wait", "distribution-deployed", "--id", identifier))

    invalidation = answer(aws("create-invalidation", "--distribution-id", identifier, "--paths", "/*", "/a%20b"))
    assert invalidation["Invalidation"]["InvalidationBatch"]["Paths"]["Items"] == ["/*", "/a%20b"]
    api.apply_everywhere()
    answer(
        aws(
            "wait",
            "invalidation-completed",
            "--distribution-id",
            identifier,
            "--id",
            invalidation["Invalidation"]["Id"],
        )
    )

    read = answer(aws("get-distribution-config", "--id", identifier))
    configuration.write_text(json.dumps({**read["DistributionConfig"], "Enabled": False}))
    update = ("update-distribution", "--id", identifier, "--distribution-config", f"file://{configuration}")
    updated = answer(aws(*update, "--if-match", read["ETag"]))
    stale = aws(*update, "--if-match", read["ETag"])
    assert stale.returncode != 0 and "PreconditionFailed" in stale.stderr
    api.apply_everywhere()
    answer(aws("delete-distribution", "--id", identifier, "--if-match", updated["ETag"]))
    gone = aws("get-distribution", "--id", identifier)
    assert gone.returncode != 0 and "NoSuchDistribution" in gone.stderr


@pytest.mark.slow
def test_what_is_refused_is_explained(aws: Command) -> None:
    wrong = aws("list-distributions", AWS_SECRET_ACCESS_KEY="guessed")
    assert wrong.returncode != 0 and "SignatureDoesNotMatch" in wrong.stderr
    unsigned = aws("list-distributions", "--no-sign-request")
    assert unsigned.returncode != 0 and "MissingAuthenticationToken" in unsigned.stderr
    # The short form of the command makes an S3 origin with legacy settings.
    shortcut = aws("create-distribution", "--origin-domain-name", "bucket.s3.amazonaws.com")
    assert shortcut.returncode != 0
    assert "S3OriginConfig is not supported yet: use CustomOriginConfig" in shortcut.stderr
    assert "ForwardedValues is not supported yet" in shortcut.stderr and "658327ea" in shortcut.stderr
