"""Who calls a watched model: the user's line, and what the code around it says of the call."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import torch

from bnlint.finding import Place
from bnlint.live.places import is_own, place_of_frame

_TORCH: Final = str(Path(torch.__file__).parent)
_CHECKPOINT: Final = str(Path(_TORCH, "utils", "checkpoint.py"))
_OWN_PASSES: Final = str(Path(__file__).with_name("passes.py"))


@dataclass(frozen=True, slots=True)
class Site:
    """A line of the user's program that calls the model.

    file, module: for the warnings module, which shows and filters by them.
    """

    place: Place | None
    file: str
    module: str

    @classmethod
    def unknown(cls) -> Site:
        """A call from nowhere: no Python code of the user is running."""
        return cls(None, "<unknown>", "<unknown>")


@dataclass(frozen=True, slots=True)
class Stance:
    """How a call came about. checkpointed: by activation checkpointing, which switches gradients
    off inside; ours: by a check of bnlint."""

    frame: FrameType
    checkpointed: bool
    ours: bool


def stance() -> Stance | None:
    """The innermost frame that is neither torch's nor ours, and what lies between."""
    checkpointed = ours = False
    typed: FrameType | None = None
    for frame in _frames(sys._getframe(1)):
        file = frame.f_code.co_filename
        if not is_own(file):
            return Stance(frame, checkpointed, ours)
        checkpointed = checkpointed or file == _CHECKPOINT
        ours = ours or file == _OWN_PASSES
        if typed is None and file == "<string>":  # python -c; or the method of a dataclass
            typed = frame
    return None if typed is None else Stance(typed, checkpointed, ours)


def checkpointing() -> FrameType | None:
    """The user's frame that runs the current call under activation checkpointing, if one does."""
    inside = False
    for frame in _frames(sys._getframe(1)):
        file = frame.f_code.co_filename
        if inside and not is_own(file):
            return frame
        inside = inside or file == _CHECKPOINT
    return None


class Callers:
    """Looks at calling frames, each instruction of the program once."""

    def __init__(self) -> None:
        self._sites: dict[tuple[CodeType, int], Site] = {}
        self._drops: dict[tuple[CodeType, int], bool | None] = {}

    def site(self, frame: FrameType) -> Site:
        """The call that the frame evaluates now."""
        key = (frame.f_code, frame.f_lasti)
        known = self._sites.get(key)
        if known is None:
            module = str(frame.f_globals.get("__name__", "<unknown>"))
            known = Site(place_of_frame(frame), frame.f_code.co_filename, module)
            self._sites[key] = known
        return known

    def is_discarded(self, frame: FrameType) -> bool:
        """Whether nobody can read the value of the call that the frame evaluates.

        It is an expression statement, or assigned to a name that the function never reads; a call
        whose value is returned is as good as its own caller.
        """
        for caller in _frames(frame):
            key = (caller.f_code, caller.f_lasti)
            if key not in self._drops:
                self._drops[key] = _drops(*key)
            dropped = self._drops[key]
            if dropped is not None:
                return dropped
        return False


def may_be_training_step(frame: FrameType) -> bool:
    """Whether a function on the way to this frame mentions a backward pass.

    Then a forward without gradients may belong to a training step: a teacher, pseudo-labels.
    """
    return any("backward" in name for f in _frames(frame) for name in f.f_code.co_names)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _drops(code: CodeType, offset: int) -> bool | None:
    """Whether the value of the call at this offset is dropped; None when it is returned."""
    # A call may be suspended within its inline caches, which are no instructions of their own.
    following = next((i for i in dis.get_instructions(code) if i.offset > offset), None)
    if following is None:
        return False
    match following.opname:
        case "POP_TOP":
            return True
        case "RETURN_VALUE":
            return None
        case "STORE_FAST" if code.co_flags & 0x20 == 0:  # no generator: locals end with the call
            return not _is_read(code, str(following.argval))
        case "STORE_NAME" | "STORE_GLOBAL":
            return bool(following.argval == "_")
        case _:
            return False


def _is_read(code: CodeType, name: str) -> bool:
    """Whether a function reads a local variable anywhere."""
    return any(
        instruction.argval == name
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE"))
    )
