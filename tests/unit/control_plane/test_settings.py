"""The command line of the control plane."""

from pathlib import Path

import pytest

from control_plane.settings import Address, SettingsError, parse

REQUIRED = ["--api", "127.0.0.1:4566", "--grpc", "127.0.0.1:4567", "--admin", "[::1]:4568", "--state-dir", "state"]


def test_defaults() -> None:
    settings = parse([*REQUIRED, "--zone", "CDN.localhost."])
    assert settings.api == Address("127.0.0.1", 4566) and str(settings.admin) == "[::1]:4568"
    assert settings.zone == "cdn.localhost" and settings.state_dir == Path("state")
    assert (settings.heartbeat_seconds, settings.lease_seconds) == (1.0, 5.0)
    assert (settings.access_key_id, settings.secret_access_key_file) == ("cdnlab", None)
    assert settings.routing_table is None and settings.geo_table is None


def test_files_of_tables() -> None:
    settings = parse([*REQUIRED, "--zone", "z", "--routing-table", "routes.json", "--geo-table", "countries.csv"])
    assert (settings.routing_table, settings.geo_table) == (Path("routes.json"), Path("countries.csv"))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse([*REQUIRED, "--zone", "no zone", "--api", "nowhere", "--lease-seconds", "x", "--access-key-id", ""])
    for part in ("--zone no zone", "--api nowhere", "--lease-seconds x", "--access-key-id"):
        assert part in str(caught.value)


def test_a_lease_outlasts_a_lost_heartbeat() -> None:
    with pytest.raises(SettingsError, match="heartbeats"):
        parse([*REQUIRED, "--zone", "z", "--lease-seconds", "1", "--heartbeat-seconds", "0.9"])


@pytest.mark.parametrize("address", ["0.0.0.0:4567", "[::]:4567", "192.0.2.1:4567", "control-plane:4567"])
def test_beyond_this_machine_nodes_need_certificates_unless_that_is_waived(address: str) -> None:
    arguments = [*REQUIRED, "--zone", "z", "--grpc", address]
    with pytest.raises(SettingsError, match=r"whoever reaches it would be a node; give --tls-dir DIR.* or --insecure"):
        parse(arguments)
    assert parse([*arguments, "--tls-dir", "tls"]).tls_dir == Path("tls")
    assert parse([*arguments, "--insecure"]).tls_dir is None


@pytest.mark.parametrize("address", ["127.0.0.1:4567", "127.15.0.1:4567", "[::1]:4567", "localhost:4567"])
def test_on_loopback_nodes_may_go_without_certificates(address: str) -> None:
    assert parse([*REQUIRED, "--zone", "z", "--grpc", address]).tls_dir is None


def test_a_secret_is_not_taken_from_the_command_line() -> None:
    with pytest.raises(SystemExit):
        parse([*REQUIRED, "--zone", "z", "--secret-access-key", "guessed"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [*REQUIRED, "--zone", "z", "--insecure", "--tls-dir", "tls"],
        [*REQUIRED, "--zone", "z", "--unknown", "1"],
        [*REQUIRED, "--zon", "z"],
    ],
)
def test_bad_flags_end_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
