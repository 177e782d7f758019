"""Which paths a shell has put in the place of an unquoted `*`, and which somebody has typed."""

import pytest

from lab.commands.expanded_paths import find_expanded_pattern
from lab.commands.invalidate import refuse_expanded
from lab.errors import UsageError

MACHINE = {
    "/": ["bin", "boot", "etc", "home", "lib", "lib64", ".hidden"],
    "/etc/": ["hosts", "passwd"],
    "/home/": ["ada"],
}


def list_folder(path: str) -> list[str]:
    if path not in MACHINE:
        raise FileNotFoundError(path)
    return MACHINE[path]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("/bin /boot /etc /home /lib /lib64", ("/*", 6)),
        ("/index.html /bin /boot /etc /home /lib /lib64", ("/*", 6)),
        ("/bin /boot", ("/b*", 2)),
        ("/lib /lib64", ("/lib*", 2)),
        ("/etc/hosts /etc/passwd", ("/etc/*", 2)),
        ("/*", None),
        ("/bin", None),
        ("/home/ada", None),
        ("/bin /home", None),
        ("/bin/* /boot/*", None),
        ("/index.html /images/*", None),
        ("not-a-path / //", None),
    ],
)
def test_all_that_a_folder_has_under_one_beginning_was_a_pattern(paths: str, expected: tuple[str, int] | None) -> None:
    assert find_expanded_pattern(paths.split(), list_folder) == expected


def test_the_message_says_how_to_quote_it_and_how_to_insist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.commands.invalidate.find_expanded_pattern", lambda _paths: ("/*", 20))
    with pytest.raises(UsageError) as raised:
        refuse_expanded("E1", ["/bin", "/boot"])
    assert "Quote it: cdnlab invalidate E1 '/*'" in str(raised.value)
    assert "nothing was invalidated; with --literal the paths are taken as they are" in str(raised.value)
