"""Where a run takes place: the files that were asked for, and the project around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bnlint.records import Struct, replace
from bnlint.settings import Settings
from bnlint.source.discover import (
    Discovered,
    admission,
    discover,
    find_root,
    is_too_wide,
    posix,
    seen_folders,
)


class Ground(Struct, frozen=True):
    """What a run is about.

    given: the files whose findings are wanted; root: the project's; project: all its files, None
    when the root is too wide to be walked; around: the folders and links among them.
    """

    given: Discovered
    root: Path
    project: tuple[str, ...] | None
    around: tuple[str, ...] = ()
    beyond: Discovered | None = None
    """All that lies below the root, where more was seen than was asked for."""

    @property
    def whole(self) -> Ground | None:
        """The ground of a run over the whole project; None where this is one, or where something
        was asked for that does not belong to it."""
        beyond = self.beyond
        if beyond is None or not set(self.given.files) <= set(beyond.files):
            return None
        return Ground(beyond, self.root, beyond.files, beyond.around)

    @property
    def everything(self) -> list[str]:
        """All files that are known, sorted."""
        return sorted({*self.given.files, *(self.project or ())})

    @property
    def admit(self) -> Callable[[str], str | None]:
        """See `discover.admission`."""
        return admission(self.project, self.root)

    @property
    def is_folder(self) -> Callable[[str], bool]:
        """See `discover.seen_folders`; every folder where the root is too wide to be walked."""
        if self.project is None:
            return os.path.isdir
        return seen_folders(self.project, self.around, self.root)


def survey(paths: Iterable[Path], settings: Settings) -> Ground:
    """The ground around these paths; raises MissingPathError."""
    wanted = list(paths)
    return ground_of(discover(wanted, settings, Path.cwd()), wanted, settings)


def ground_of(given: Discovered, paths: Sequence[Path], settings: Settings) -> Ground:
    """The ground around files that have been found at or below these paths."""
    root = Path(posix(settings.root or find_root(paths)))
    if any(posix(path) == posix(root) for path in paths):
        return Ground(given, root, given.files, given.around)
    if is_too_wide(root):
        return Ground(given, root, None)
    whole = discover([root], replace(settings, force_exclude=False), Path.cwd())
    files = tuple(sorted({*whole.files, *given.files}))
    around = (*whole.around, *given.around)
    return Ground(given, root, files, around, None if settings.force_exclude else whole)
