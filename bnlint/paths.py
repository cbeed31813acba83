"""How paths are shown."""

from __future__ import annotations

import os


def shown_path(path: str) -> str:
    """A path relative to the working directory, forward slashes; `<stdin>` and the like stay."""
    if path.startswith("<"):
        return path
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        relative = path
    return relative.replace(os.sep, "/")
