"""Reading in several processes; a worker that dies costs one file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import BaseContext

from bnlint.source.outcome import Outcome, Problem
from bnlint.source.reading import Reader, can_fork, size_of

_DIED = Problem("gave up: the parser's process died on this file")


def _context() -> BaseContext:
    return multiprocessing.get_context("fork" if can_fork() else "spawn")


def read_in_processes(paths: Sequence[str], workers: int, reader: Reader) -> Iterator[Outcome]:
    """Read in a pool, the largest files first.

    When a worker dies, the files that were in work are read one by one, each in a process of its
    own, which finds the guilty one; the rest goes on in a new pool.
    """
    pending = sorted(paths, key=size_of)
    context = _context()
    while pending:
        in_work: dict[Future[Outcome], str] = {}
        with ProcessPoolExecutor(workers, context) as pool, suppress(BrokenProcessPool):
            yield from _drain(pool, pending, in_work, 2 * workers, reader)
        for path in in_work.values():
            yield read_alone(path, reader, context)


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


def read_alone(path: str, reader: Reader, context: BaseContext | None = None) -> Outcome:
    """Read one file in a process of its own; whatever happens to that is its outcome."""
    with ProcessPoolExecutor(1, context or _context()) as pool:
        try:
            return pool.submit(reader, path).result()
        except BrokenProcessPool:
            return Outcome(path, problem=_DIED)
