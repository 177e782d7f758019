"""Who may use the management API: one access key, whose secret is in a file."""

from pathlib import Path

from control_plane.settings import Settings

DOCUMENTED_SECRET_ACCESS_KEY = "cdnlab-secret"  # noqa: S105  # public on purpose: the API is reachable from this machine only


class CredentialsError(Exception):
    """The file cannot be used; the message says why."""


def read_credentials(settings: Settings) -> dict[str, str]:
    """Secret access keys by access key id. CredentialsError when there is a file and it has none."""
    return {settings.access_key_id: _read_secret(settings.secret_access_key_file)}


def _read_secret(path: Path | None) -> str:
    """The first line of the file."""
    if path is None:
        return DOCUMENTED_SECRET_ACCESS_KEY
    try:
        secret = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read the secret access key in {path}: {error}") from error
    if not secret:
        raise CredentialsError(f"there is no secret access key in {path}")
    return secret
