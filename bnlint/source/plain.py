"""Opening files that strangers have put there: nothing but regular ones, without waiting."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Final

_AT_ONCE: Final = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


def open_plain(path: str | os.PathLike[str], *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device raises OSError instead of keeping the
    run waiting, and so does a link that is not to be followed."""
    link = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE | link)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
