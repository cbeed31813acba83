"""Which files there are to lint: a walk that honours .gitignore and the exclude patterns.

Works without git. Links are not followed, so a walk neither loops nor leaves its folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bnlint.records import Struct
from bnlint.settings import Settings, SettingsError
from bnlint.source.patterns import pattern_set, usable
from bnlint.source.plain import open_plain
from bnlint.spelling import did_you_mean

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES: Final = (".py", ".ipynb")
CACHE: Final = ".bnlint_cache"
"""The folder of what earlier runs have found."""
_MARKERS: Final = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_LARGEST_IGNORES: Final = 1_000_000
"""Bytes of a .gitignore that are read."""


class MissingPathError(Exception):
    """A path that was given does not exist."""


class Discovered(Struct, frozen=True):
    """files: absolute paths, forward slashes, each once, sorted; named: those given by name;
    unreadable: folders and what kept us out; around: the folders and links that were seen, which
    imports can end at."""

    files: tuple[str, ...]
    named: frozenset[str]
    unreadable: tuple[tuple[str, str], ...] = ()
    around: tuple[str, ...] = ()


class _Patterns(Struct, frozen=True):
    """Exclude or ignore patterns, and the folder they are relative to."""

    folder: str
    spec: GitIgnoreSpec | None

    @classmethod
    def of(cls, folder: str, lines: Sequence[str]) -> _Patterns:
        """Patterns as they are written; raises ValueError."""
        if not any(line.strip() and not line.startswith("#") for line in lines):
            return cls(folder, None)  # without an import that a small run feels
        return cls(folder, pattern_set(lines))

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """True: excluded; False: taken back by a `!` pattern; None: says nothing."""
        prefix = self.folder.rstrip("/") + "/"
        if self.spec is None or not path.startswith(prefix):
            return None
        relative = path[len(prefix) :] + ("/" if is_folder else "")
        return self.spec.check_file(relative).include


def find_root(paths: Sequence[Path]) -> Path:
    """The nearest folder with a project marker above all paths, else their common folder (of a
    folder that is not there, the nearest one that is).

    A marker in `/` or in the home folder does not count.
    """
    folders = [str(p if p.is_dir() else p.parent) for p in (path.absolute() for path in paths)]
    try:
        common = Path(os.path.commonpath([os.path.normpath(folder) for folder in folders]))
    except ValueError:  # different drives
        return Path(os.path.normpath(folders[0]))
    for folder in (common, *common.parents):
        if not is_too_wide(folder) and any((folder / marker).exists() for marker in _MARKERS):
            return folder
    return next(folder for folder in (common, *common.parents) if folder.is_dir())


def is_too_wide(folder: Path) -> bool:
    """Whether a folder is `/` or the home folder: never taken for a project as a whole."""
    return folder in (Path(folder.anchor), Path.home())


def discover(paths: Iterable[Path], settings: Settings, base: Path) -> Discovered:
    """All .py and .ipynb files at or below the paths; raises MissingPathError.

    A file given by name is taken whatever its name, its folder's patterns and .gitignore say;
    with `force_exclude` the exclude patterns hold for it too. base: what patterns are relative to
    when the settings do not say.
    """
    excluded = _Excluded(settings, base)
    found: dict[str, None] = {}
    named: set[str] = set()
    unreadable: list[tuple[str, str]] = []
    around: list[str] = []
    for path in paths:
        full = posix(path)
        if os.path.isdir(full):
            if not (settings.force_exclude and excluded.reaches(full, True)):
                found.update(dict.fromkeys(_walk(full, excluded, unreadable, around)))
        elif not os.path.exists(full):
            guess = _similar(full) or ": check the spelling"
            raise MissingPathError(f"{path}: no such file or folder{guess}")
        elif not os.path.isfile(full):  # a pipe would keep the run waiting
            unreadable.append((full, "not a regular file"))
        elif not (settings.force_exclude and excluded.reaches(full, False)):
            found[full] = None
            named.add(full)
    return Discovered(tuple(sorted(found)), frozenset(named), tuple(unreadable), tuple(around))


def _similar(path: str) -> str:
    """A question that names what lies there under a similar name; empty when nothing does."""
    folder, _, name = path.rpartition("/")
    with suppress(OSError):
        return did_you_mean(name, sorted(os.listdir(folder or "/")))
    return ""


def posix(path: Path) -> str:
    """The absolute path with forward slashes, `.` and `..` resolved, links not."""
    return os.path.abspath(path).replace(os.sep, "/")


class _Excluded:
    """The exclude patterns of the settings."""

    def __init__(self, settings: Settings, base: Path) -> None:
        folder = posix(settings.base or base)
        wanted = (*settings.exclude, *settings.extend_exclude)
        plain = {name.rstrip("/") for name in wanted}
        self._names = {name for name in plain if not any(c in name for c in "/*?[!\\")}
        rest = [_relative(p, folder) for p in wanted if p.rstrip("/") not in self._names]
        self._patterns = _asked_for(folder, rest)

    def __call__(self, path: str, is_folder: bool) -> bool:
        if path.rpartition("/")[2] in self._names:
            return True
        return self._patterns.decide(path, is_folder) is True

    def reaches(self, path: str, is_folder: bool) -> bool:
        """Whether the path or a folder that holds it is excluded."""
        if self(path, is_folder):
            return True
        folder = self._patterns.folder
        parent = path.rpartition("/")[0]
        while parent and len(parent) > len(folder):
            if self(parent, True):
                return True
            parent = parent.rpartition("/")[0]
        return False


def per_file_ignores(settings: Settings, base: Path) -> Callable[[str], list[str]]:
    """A function from an absolute path to the selectors of rules that are ignored there."""
    folder = posix(settings.base or base)
    table = [
        (_asked_for(folder, [_relative(pattern, folder)]), selectors)
        for pattern, selectors in settings.per_file_ignores
    ]

    def ignored(path: str) -> list[str]:
        matching = (found for patterns, found in table if _covers(patterns, path))
        return [selector for found in matching for selector in found]

    return ignored


def _asked_for(folder: str, lines: Sequence[str]) -> _Patterns:
    """Patterns of the settings; raises SettingsError."""
    try:
        return _Patterns.of(folder, lines)
    except ValueError as error:
        raise SettingsError(f"exclude, per-file-ignores: {error}") from None


def _covers(patterns: _Patterns, path: str) -> bool:
    """Whether patterns mean a file or a folder that holds it."""
    spec, prefix = patterns.spec, patterns.folder.rstrip("/") + "/"
    if spec is None or not path.startswith(prefix):
        return False
    return spec.match_file(path[len(prefix) :])


def _relative(pattern: str, folder: str) -> str:
    """An absolute pattern below the folder as one that is anchored in it."""
    prefix = folder.rstrip("/") + "/"
    return "/" + pattern[len(prefix) :] if pattern.startswith(prefix) else pattern


def _walk(
    start: str, excluded: _Excluded, unreadable: list[tuple[str, str]], around: list[str]
) -> Iterator[str]:
    """Files below a folder. The folder itself was asked for: what ignores it is not heard."""
    pending = [(start, _ignores_above(start))]
    while pending:
        folder, ignores = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append((folder, error.strerror or str(error)))
            continue
        if any(entry.name == ".gitignore" for entry in entries):
            ignores = [*_read_ignores(folder, ".gitignore"), *ignores]
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if (is_folder or entry.is_symlink()) and _is_importable(entry.name):
                around.append(_state(entry))
            if not is_folder and not entry.name.endswith(SUFFIXES):
                continue
            if entry.name == CACHE:
                continue
            path = f"{folder.rstrip('/')}/{entry.name}"
            if excluded(path, is_folder) or _is_ignored(path, is_folder, ignores):
                continue
            if is_folder:
                pending.append((path, ignores))
            elif entry.is_file(follow_symlinks=False):
                yield path


def _is_importable(name: str) -> bool:
    """Whether an import could name the folder or the file."""
    return name.removesuffix(".py").isidentifier() and name != "__pycache__"


def _state(entry: os.DirEntry[str]) -> str:
    """A folder, or a link and where it leads, in words."""
    if not entry.is_symlink():
        return entry.path
    with suppress(OSError):
        return f"{entry.path} -> {os.path.realpath(entry.path)}"
    return entry.path


def _is_ignored(path: str, is_folder: bool, ignores: Iterable[_Patterns]) -> bool:
    """Whether .gitignore files, the innermost first, say that the path is ignored."""
    decisions = (patterns.decide(path, is_folder) for patterns in ignores)
    return next((d for d in decisions if d is not None), False)


def _ignores_above(start: str) -> list[_Patterns]:
    """The .gitignore files of the folders above, up to the repository's root; the innermost first.

    None when they ignore the start itself.
    """
    folders = []
    folder = start
    while not os.path.exists(f"{folder}/.git"):
        parent = folder.rpartition("/")[0]
        if not parent or parent == folder:
            return []
        folder = parent
        folders.append(folder)
    ignores = [patterns for above in folders for patterns in _read_ignores(above, ".gitignore")]
    ignores += _read_ignores(folder, ".git/info/exclude")
    return [] if _any_part_ignored(start, folder, ignores) else ignores


def _any_part_ignored(path: str, root: str, ignores: Sequence[_Patterns]) -> bool:
    while len(path) > len(root):
        if _is_ignored(path, True, ignores):
            return True
        path = path.rpartition("/")[0]
    return False


def _read_ignores(folder: str, name: str) -> list[_Patterns]:
    path = f"{folder}/{name}"
    try:
        with open_plain(path, follow=False) as file:  # git does not follow links there, either
            lines = file.read(_LARGEST_IGNORES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    try:
        return [_Patterns.of(folder, lines)]
    except ValueError:
        return [_Patterns.of(folder, usable(lines))]


def admission(files: Iterable[str] | None, root: Path) -> Callable[[str], str | None]:
    """What may be opened on demand: a function from a path to the discovered file behind it.

    A link counts when it ends at a discovered file. files: None when the root is too wide to be
    walked; then every plain .py file below it counts. Everything else is None.
    """
    admitted = None if files is None else frozenset(files)
    top = posix(root).rstrip("/") + "/"
    real_top = posix(Path(os.path.realpath(root))).rstrip("/") + "/"

    def admit(path: str) -> str | None:
        if admitted is not None and path in admitted:
            return path
        if not path.endswith(SUFFIXES) or not os.path.isfile(path):
            return None
        real = posix(Path(os.path.realpath(path)))
        if not real.startswith(real_top):
            return None
        inside = top + real[len(real_top) :]
        return inside if admitted is None or inside in admitted else None

    return admit


def seen_folders(files: Iterable[str], around: Iterable[str], root: Path) -> Callable[[str], bool]:
    """What an import may take for a package without `__init__.py`: a function that tells whether a
    path is a folder that discovery has seen, or that holds a file which it found.

    What lies below an excluded folder is not looked at, so that nothing there can change what is
    found. A link counts when it ends at such a folder. around: see `Discovered`.
    """
    known = {posix(root), *around}
    for path in files:
        folder = path.rpartition("/")[0]
        while folder and folder not in known:
            known.add(folder)
            folder = folder.rpartition("/")[0]
    links = tuple(f"{link}/" for link, arrow, _ in (s.partition(" -> ") for s in around) if arrow)
    top = posix(root).rstrip("/") + "/"
    real_top = posix(Path(os.path.realpath(root))).rstrip("/") + "/"

    def is_folder(path: str) -> bool:
        if path in known or not f"{path}/".startswith(links):
            return path in known
        real = posix(Path(os.path.realpath(path))) + "/"
        return real.startswith(real_top) and (top + real[len(real_top) :])[:-1] in known

    return is_folder
