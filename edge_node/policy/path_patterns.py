"""Path patterns and the normalised path that they are compared with (reference 1.6)."""

import re


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`*` is zero or more characters including "/", `?` is one; case-sensitive; a leading "/" is optional."""
    text = pattern if pattern.startswith(("/", "*")) else f"/{pattern}"
    return re.compile("".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text), re.DOTALL)


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
