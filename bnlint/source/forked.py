"""Reading with the help of copies of this process, which cost a few milliseconds each: for projects
that are read before a pool of processes would have begun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, NoReturn

import msgspec

from bnlint.source.cache.codec import decode, encode
from bnlint.source.outcome import Outcome
from bnlint.source.reading import Reader, size_of


def read_forked(paths: Sequence[str], workers: int, reader: Reader) -> Iterator[Outcome]:
    """Read a part of the files here and the others in copies of this process, which may only be
    asked for where it `can_fork`.

    What a copy does not bring, since it died, is read in a pool, which finds the guilty file.
    """
    by_size = sorted(paths, key=size_of, reverse=True)
    mine, *others = (by_size[n::workers] for n in reversed(range(workers)))
    pipes: list[tuple[list[str], BinaryIO]] = []
    lost: list[str] = []
    with ExitStack() as copies:
        for share in others:
            try:
                pipes.append((share, copies.enter_context(_copy(share, reader))))
            except OSError:  # there are too many processes
                mine += share
        yield from map(reader, mine)
        for share, pipe in pipes:
            bodies = _received(pipe)
            if len(bodies) != len(share):
                lost += share
                continue
            for path, body in zip(share, bodies):
                yield decode(body, path) or reader(path)
    if lost:
        from bnlint.source.processes import read_in_processes

        yield from read_in_processes(lost, workers, reader)


@contextmanager
def _copy(share: Sequence[str], reader: Reader) -> Iterator[BinaryIO]:
    """A copy of this process that reads these files, and where it writes what it has read."""
    ours, theirs = os.pipe()
    try:
        copy = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        raise
    if copy == 0:
        _read_and_end(share, reader, theirs)
    os.close(theirs)
    try:
        with open(ours, "rb") as pipe:
            yield pipe
    finally:
        with suppress(ChildProcessError):  # somebody else has asked for it
            os.waitpid(copy, 0)


def _read_and_end(share: Sequence[str], reader: Reader, end: int) -> NoReturn:
    """The work of a copy, which ends without what else this process would do at its end."""
    try:
        bodies = [encode(reader(path)) or b"" for path in share]
        with open(end, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(bodies))
    finally:
        os._exit(0)


def _received(pipe: BinaryIO) -> list[bytes]:
    """What a copy has sent; nothing when it ended before that."""
    with suppress(msgspec.MsgspecError):
        return msgspec.msgpack.decode(pipe.read(), type=list[bytes])
    return []
