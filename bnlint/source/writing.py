"""Writing a fixed file: as a whole or not at all, and only over the content that was fixed."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import stat
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bnlint.source.fixing import FileChange

A_DAY: Final = 86_400
"""Seconds."""

_LEFTOVER: Final = re.compile(r"\.bnlint-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,9})-.*\.tmp")


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
    prefix = f".bnlint-{_machine()}-{os.getpid()}-"
    descriptor, temporary = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=Path(path).parent)
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


def remove_leftovers(folders: Iterable[str]) -> None:
    """Remove what runs that were killed while they wrote have left in these folders: files of
    processes of this machine that are gone, and of others after a day."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                match = _LEFTOVER.fullmatch(entry.name)
                if match is not None and _is_stale(entry, match["machine"], int(match["process"])):
                    with suppress(OSError):
                        os.unlink(entry.path)


def _is_stale(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    if not entry.is_file(follow_symlinks=False):
        return False
    if machine == _machine() and not _runs(process):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > A_DAY


def _runs(process: int) -> bool:
    """Whether a process of this machine exists; where that cannot be asked, it does."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _machine() -> str:
    """What tells this machine, or this container, from others that see the same files."""
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _differs(before: os.stat_result, now: os.stat_result) -> bool:
    return (before.st_mtime_ns, before.st_size, before.st_ino) != (
        now.st_mtime_ns,
        now.st_size,
        now.st_ino,
    )
