"""Path patterns and the normalised path that they are compared with (reference 1.6)."""

import re


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`*` is zero or more characters including "/", `?` is one; case-sensitive; a leading "/" is optional.

    What stands between two `*` is matched where it comes first, and that is never taken back (an atomic group): a later place could only leave less for the rest.
    Without it a viewer's path of 8 KB against a pattern with three `*` holds up the node for seconds, and with more of them for years.
    """
    text = pattern if pattern.startswith(("/", "*")) else f"/{pattern}"
    first, *others = [_literal(part) for part in text.split("*")]
    if not others:
        return re.compile(first, re.DOTALL)
    *inner, last = others
    return re.compile("".join((first, *[f"(?>.*?{part})" for part in inner if part], f".*{last}")), re.DOTALL)


def _literal(part: str) -> str:
    return "".join("." if c == "?" else re.escape(c) for c in part)


def normalise_path(path: str) -> str:
    """RFC 3986 section 5.2.4 dot segments resolved and duplicate slashes removed: for matching only, the origin gets the raw path."""
    segments: list[str] = []
    parts = [part for part in path.split("/") if part]
    for part in parts:
        if part == "..":
            if segments:
                segments.pop()
        elif part != ".":
            segments.append(part)
    is_directory = path.endswith("/") or (bool(parts) and parts[-1] in (".", ".."))
    return "/" + "/".join(segments) + ("/" if is_directory and segments else "")
