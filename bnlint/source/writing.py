"""Writing a fixed file: as a whole or not at all, and only over the content that was fixed."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from bnlint.source.fixing import FileChange


class NotWrittenError(Exception):
    """A file was left as it is; the message says why, to follow the name of the file."""


def write(change: FileChange, root: Path) -> None:
    """Replace a file by its fixed content: at every moment it is either the old or the new one.

    The mode stays, and the owner where that is allowed. A link is followed only to a file below
    `root`. Raises NotWrittenError.
    """
    path = _target(change.path, root)
    try:
        before = os.stat(path)
        if not before.st_mode & 0o222 or not os.access(path, os.W_OK):
            raise NotWrittenError("is read-only")
        if Path(path).read_bytes() != change.before:
            raise NotWrittenError("has changed since it was read")
        temporary = _beside(path, change.after, before)
        try:
            if _differs(before, os.stat(path)):
                raise NotWrittenError("has changed since it was read")
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise NotWrittenError(f"cannot be written: {error.strerror or error}") from None


def _target(path: str, root: Path) -> str:
    real = os.path.realpath(path)
    if os.path.islink(path) and not Path(real).is_relative_to(os.path.realpath(root)):
        raise NotWrittenError("is a link that leads out of the project")
    return real


def _beside(path: str, content: bytes, before: os.stat_result) -> str:
    """A new file in the same folder with this content, on the disk for good."""
    descriptor, temporary = tempfile.mkstemp(
        prefix=".bnlint-", suffix=".tmp", dir=Path(path).parent
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "chown"):
            with suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, stat.S_IMODE(before.st_mode))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _differs(before: os.stat_result, now: os.stat_result) -> bool:
    return (before.st_mtime_ns, before.st_size, before.st_ino) != (
        now.st_mtime_ns,
        now.st_size,
        now.st_ino,
    )
