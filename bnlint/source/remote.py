"""Reading files on executors of others: other processes, other machines.

Their workers get the content of each file, so they need bnlint and nothing else: no checkout, no
shared file system. What a worker fails at is read here, so that nothing is lost with it.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    wait,
)
from contextlib import contextmanager
from typing import Any, Final

import bnlint
from bnlint.source.limits import LIMITS
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_bytes

SCHEME: Final = "dask://"
WINDOW: Final = 64
"""Files that are on their way at the same time: enough to keep workers busy, and little memory."""
PATIENCE: Final = 10
"""Seconds to find a scheduler."""
_STACK: Final = 64 << 20
_TURN: Final = threading.Lock()
"""Workers may be threads, which share one recursion limit."""


class ExecutorError(Exception):
    """The executor cannot be used at all; the message says why."""


@contextmanager
def connected(address: str) -> Iterator[Executor]:
    """The executor behind an address, `dask://HOST:PORT`. Raises ExecutorError."""
    if not address.startswith(SCHEME) or not address.removeprefix(SCHEME):
        raise ExecutorError(f"{address!r} is no address such as dask://HOST:8786")
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError:
        raise ExecutorError('dask is not installed: pip install "bnlint[dask]"') from None
    place = address.removeprefix(SCHEME)
    try:
        client = distributed.Client(f"tcp://{place}", timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutorError(f"no dask scheduler answers at {place}: {error}") from None
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()


def read_with(
    executor: Executor, paths: Sequence[str], read_here: Callable[[str], Outcome]
) -> Iterator[Outcome]:
    """The outcome of each file, in no particular order; read_here: for what comes to nothing."""
    pending = list(reversed(paths))
    sent: dict[Future[Outcome], str] = {}
    while pending or sent:
        while pending and len(sent) < WINDOW:
            path = pending.pop()
            future = _send(executor, path)
            if future is None:
                yield read_here(path)
            else:
                sent[future] = path
        for future in wait(sent, return_when=FIRST_COMPLETED).done if sent else ():
            path = sent.pop(future)
            yield _received(future, path) or read_here(path)


def _send(executor: Executor, path: str) -> Future[Outcome] | None:
    try:
        if os.stat(path).st_size > LIMITS.of(path):
            return None
        with open(path, "rb") as file:
            data = file.read(LIMITS.of(path) + 1)
        return executor.submit(read_content, path, data, bnlint.__version__)
    except (OSError, RuntimeError):  # the file, or an executor that takes nothing any more
        return None


def _received(future: Future[Outcome], path: str) -> Outcome | None:
    """What a worker has made of a file; None when it has failed."""
    try:
        outcome = future.result()
    except VersionError as error:
        raise ExecutorError(str(error)) from None
    except (Exception, CancelledError):  # whatever an executor says of a dead worker
        return None
    return outcome if isinstance(outcome, Outcome) and outcome.path == path else None


class VersionError(Exception):
    """A worker has another version of bnlint."""


def read_content(path: str, data: bytes, version: str) -> Outcome:
    """What a worker does: the facts of a file whose content it is given."""
    if version != bnlint.__version__:
        words = f"a worker has bnlint {bnlint.__version__}, not {version}: install the same"
        raise VersionError(words)
    found: list[Outcome] = []
    with _TURN:
        before = threading.stack_size(_STACK)  # a thread's own may be too small for the parser
        try:
            thread = threading.Thread(target=lambda: found.append(read_bytes(path, data)))
            thread.start()
        finally:
            threading.stack_size(before)
        thread.join()
    return found[0]
