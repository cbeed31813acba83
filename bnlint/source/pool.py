"""Reading many files, in this process or in several; a worker that dies costs one file."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import BaseContext
from typing import Final, TypeAlias

from bnlint.source.outcome import Outcome, Problem
from bnlint.source.reader import read_file

Reader: TypeAlias = Callable[[str], Outcome]

MIN_BYTES: Final = 2_000_000
"""Below this a second process costs more than it saves."""

_DIED = Problem("gave up: the parser's process died on this file")


def read_files(
    paths: Sequence[str],
    jobs: int = 0,
    executor: Executor | None = None,
    reader: Reader = read_file,
) -> Iterator[Outcome]:
    """The outcome of each file, in no particular order.

    jobs: processes, 0 chooses, 1 stays in this one; a small project stays in any case. An executor
    gets the contents of the files; what it fails at is read here, each in a process of its own.
    """
    if executor is not None:
        from bnlint.source.remote import read_with

        yield from read_with(executor, paths, lambda path: _read_alone(path, _context(), reader))
        return
    workers = min(jobs or _default_jobs(), len(paths))
    if workers <= 1 or not _is_worth_it(paths):
        yield from map(reader, paths)
        return
    yield from read_in_processes(paths, workers, reader)


def _default_jobs() -> int:
    """All cores where forking is safe. Elsewhere a new process would import the caller's main
    module, which a caller must allow by naming a number of jobs."""
    return available_cores() if _can_fork() else 1


def available_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _context() -> BaseContext:
    return multiprocessing.get_context("fork" if _can_fork() else "spawn")


def _is_worth_it(paths: Sequence[str]) -> bool:
    return sum(map(_size, paths)) >= MIN_BYTES


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read_in_processes(paths: Sequence[str], workers: int, reader: Reader) -> Iterator[Outcome]:
    """Read in a pool, the largest files first.

    When a worker dies, the files that were in work are read one by one, each in a process of its
    own, which finds the guilty one; the rest goes on in a new pool.
    """
    pending = sorted(paths, key=_size)
    context = _context()
    while pending:
        in_work: dict[Future[Outcome], str] = {}
        with ProcessPoolExecutor(workers, context) as pool, suppress(BrokenProcessPool):
            yield from _drain(pool, pending, in_work, 2 * workers, reader)
        for path in in_work.values():
            yield _read_alone(path, context, reader)


def _drain(
    pool: Executor,
    pending: list[str],
    in_work: dict[Future[Outcome], str],
    window: int,
    reader: Reader,
) -> Iterator[Outcome]:
    """Take files from the end of `pending` until none is left, at most `window` at a time.

    On BrokenProcessPool `in_work` holds exactly the files that were neither finished nor left.
    """
    while pending or in_work:
        while pending and len(in_work) < window:
            in_work[pool.submit(reader, pending[-1])] = pending[-1]
            pending.pop()
        finished, _ = wait(in_work, return_when=FIRST_COMPLETED)
        for future in finished:
            outcome = future.result()
            del in_work[future]
            yield outcome


def _read_alone(path: str, context: BaseContext, reader: Reader) -> Outcome:
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(reader, path).result()
        except BrokenProcessPool:
            return Outcome(path, problem=_DIED)
