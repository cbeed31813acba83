"""What became of one file that was read. Plain data, cheap to send and to keep."""

from __future__ import annotations

from collections.abc import Callable

from bnlint.records import Struct
from bnlint.source.facts import FileFacts
from bnlint.source.recursion import room_to_recurse
from bnlint.suppress import FileSuppressions


class Problem(Struct, frozen=True):
    """Why a file has no facts. trace: the traceback when the extraction itself failed, else "".

    is_remark: the file has facts, and this only says how it was read.
    """

    message: str
    line: int = 1
    column: int = 1
    cell: int | None = None
    trace: str = ""
    is_remark: bool = False


class Outcome(Struct, frozen=True):
    """What became of one file.

    facts with suppressions, or a problem that is a finding (BNL901; both for a notebook with a
    broken cell and for Python 2), or unreadable: what the operating system said. digest: of the
    bytes that were read, empty for a text that is not on disk and for a file that was too large.
    """

    path: str
    facts: FileFacts | None = None
    suppressions: FileSuppressions | None = None
    problem: Problem | None = None
    unreadable: str = ""
    digest: str = ""

    def __reduce__(self) -> tuple[Callable[[bytes], Outcome], tuple[bytes]]:
        """Facts nest as deeply as the file does: more than pickle may by default."""
        import pickle

        values = [getattr(self, name) for name in self.__struct_fields__]
        with room_to_recurse():
            return _unpacked, (pickle.dumps(values),)


def _unpacked(data: bytes) -> Outcome:
    import pickle

    return Outcome(*pickle.loads(data))
