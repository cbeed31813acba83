"""Reading many files, in this process or in several."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_file

if TYPE_CHECKING:
    from concurrent.futures import Executor

Reader: TypeAlias = Callable[[str], Outcome]

SHARE: Final = 100_000
"""Bytes that are read in the time that it takes to get them from a copy of this process, and some
more."""
POOLED: Final = 2_000_000
"""Bytes from which on a pool of processes is worth its start."""


def read_files(
    paths: Sequence[str],
    jobs: int = 0,
    executor: Executor | None = None,
    reader: Reader = read_file,
) -> Iterator[Outcome]:
    """The outcome of each file, in no particular order.

    jobs: processes, 0 chooses, 1 stays in this one; a small project stays in any case, or is read
    with the help of copies of this process where that can be. An executor
    gets the contents of the files; what it fails at is read here, each in a process of its own.
    """
    if executor is not None:
        from bnlint.source.processes import read_alone
        from bnlint.source.remote import read_with

        yield from read_with(executor, paths, lambda path: read_alone(path, reader))
        return
    size = sum(map(size_of, paths))
    workers = min(jobs or _default_jobs(), len(paths), size // SHARE)
    if workers > 1 and size >= POOLED:
        from bnlint.source.processes import read_in_processes

        yield from read_in_processes(paths, workers, reader)
    elif workers > 1 and can_fork():
        from bnlint.source.forked import read_forked

        yield from read_forked(paths, workers, reader)
    else:
        yield from map(reader, paths)


def _default_jobs() -> int:
    """All cores where forking is safe. Elsewhere a new process would import the caller's main
    module, which a caller must allow by naming a number of jobs."""
    return available_cores() if can_fork() else 1


def available_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def can_fork() -> bool:
    """Whether a new process may begin as a copy of this one."""
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def size_of(path: str) -> int:
    """Bytes of a file; 0 where that cannot be told."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
