"""Linking: which file an import means, and the scope of each module of the project."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from bnlint.source.evaluate.explained import Explained
from bnlint.source.facts import FileFacts
from bnlint.source.noticed import Noticed
from bnlint.source.relevance import Relevance
from bnlint.source.search_path import added_folders
from bnlint.source.values import ModuleScope


class Project:
    """The files of one project, linked by imports.

    facts: the files that were extracted, by absolute path with forward slashes. load: extracts a
    further file of the project when an import asks for it; None when there is no such file, or
    when it may not be opened. explained: what the settings say about names. is_folder: whether an
    import may end at a folder, see `discover.seen_folders`.
    """

    def __init__(
        self,
        root: Path,
        facts: Mapping[str, FileFacts],
        load: Callable[[str], FileFacts | None] = lambda path: None,
        explained: Explained | None = None,
        is_folder: Callable[[str], bool] = os.path.isdir,
    ) -> None:
        self.explained = explained or Explained()
        self.root = PurePosixPath(root.as_posix())
        self._facts: dict[str, FileFacts | None] = dict(facts)
        self._load = load
        self._is_folder = is_folder
        self._scopes: dict[str, ModuleScope] = {}
        self._found: dict[tuple[str, str], ModuleScope | None] = {}
        """Modules that were looked for, by the folder and the path below it."""
        self._unsearched = [*self._facts.values()]
        """Files that were read, and not yet searched for folders that they add to `sys.path`."""
        self._added: list[str] = []
        self._in_some: dict[str, tuple[int, dict[int, ModuleScope]]] = {}
        """Modules that were looked for in the first of these folders, by the path below."""
        self.given = tuple(sorted(facts))
        self.noticed = Noticed()
        """What drawing this project has looked at."""

    @cached_property
    def relevance(self) -> Relevance:
        """Which of the project's functions can matter."""
        return Relevance(facts for path in self.given if (facts := self.facts(path)) is not None)

    def recall(self, relevance: Relevance, added: Iterable[str]) -> None:
        """Take over what is known of the project: which functions matter, and the folders that its
        files add to `sys.path`."""
        self.relevance = relevance
        self._added, self._unsearched = [*added], []

    def facts(self, path: str) -> FileFacts | None:
        """The facts of a file; None when the project has no such file."""
        if path not in self._facts:
            found = self._facts[path] = self._load(path)
            if found is not None:
                self._unsearched.append(found)
        return self._facts[path]

    def scope(self, path: str) -> ModuleScope | None:
        """The scope of the module in this file, shared by all who import it."""
        if path not in self._scopes:
            facts = self.facts(path)
            if facts is None:
                return None
            self._scopes[path] = ModuleScope(self.module_name(path), facts)
        return self._scopes[path]

    def module_name(self, path: str) -> str:
        """A readable dotted name of the module: its path below the root."""
        try:
            relative = PurePosixPath(path).relative_to(self.root)
        except ValueError:
            relative = PurePosixPath(PurePosixPath(path).name)
        parts = relative.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    def resolve(self, module: str, level: int, importer: str) -> ModuleScope | None:
        """The module that `from <level dots><module> import ...` in `importer` means.

        None when it lies outside the project. Absolute names are looked up in the importer's own
        folder, its ancestors up to the root, and `src`: nearest first, as a script sees them; then
        in the folders that files of the project add to `sys.path`.
        """
        folder = posixpath.dirname(importer)
        below = module.replace(".", "/")
        if level:
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            return self._in_folder(folder, below)
        for start in self._search_path(folder):
            found = self._in_folder(start, below)
            if found is not None:
                return found
        return self._in_added(below)

    def submodule(self, package: ModuleScope, name: str) -> ModuleScope | None:
        """The module `name` inside a package; None when there is none."""
        folder, _, file = package.facts.path.rpartition("/")
        return self._in_folder(folder, name) if file == "__init__.py" else None

    def submodules(self, package: ModuleScope) -> list[ModuleScope]:
        """The modules of a package, in the order of their names; none of a plain module."""
        folder = PurePosixPath(package.facts.path)
        if folder.name != "__init__.py":
            return []
        paths = [p for p in self.given if PurePosixPath(p).parent == folder.parent]
        scopes = [self.scope(path) for path in paths if path != package.facts.path]
        return [scope for scope in scopes if scope is not None]

    def added_folders(self) -> list[str]:
        """What the files that were read so far add to `sys.path`, below the root."""
        while self._unsearched:
            facts = self._unsearched.pop(0)
            for folder in self._added_by(facts) if facts is not None else ():
                if folder not in self._added:
                    self._added.append(folder)
        return self._added

    def _added_by(self, facts: FileFacts) -> tuple[str, ...]:
        folders = map(PurePosixPath, added_folders(facts))
        return tuple(str(folder) for folder in folders if self.root in folder.parents)

    def _in_added(self, below: str) -> ModuleScope | None:
        """The module in a folder of `sys.path`; None where several folders have one."""
        folders = self.added_folders()
        size = len(folders)
        searched, found = self._in_some.get(below, (0, {}))
        if searched < size:
            new = (self._in_folder(folder, below) for folder in folders[searched:size])
            found = {**found, **{id(scope): scope for scope in new if scope is not None}}
            self._in_some[below] = (size, found)
        return next(iter(found.values())) if len(found) == 1 else None

    def _search_path(self, folder: str) -> list[str]:
        root = str(self.root)
        found = [folder]
        while folder != root and _is_below(folder, root):
            folder = posixpath.dirname(folder)
            found.append(folder)
        return [*found, posixpath.join(root, "src")]

    def _in_folder(self, folder: str, below: str) -> ModuleScope | None:
        """The module at a path below a folder, the folder's own package for ""."""
        key = (folder, below)
        if key not in self._found:
            self._found[key] = self._look(folder, below)
        return self._found[key]

    def _look(self, folder: str, below: str) -> ModuleScope | None:
        base = posixpath.join(folder, below).rstrip("/") or "/"
        root = str(self.root)
        if base != root and not _is_below(base, root):
            return None
        candidates = [posixpath.join(base, "__init__.py")]
        if below:
            candidates.insert(0, f"{base}.py")
        for candidate in candidates:
            scope = self.scope(candidate)
            if scope is not None:
                return scope
        return self._namespace_package(base) if below else None

    def _namespace_package(self, folder: str) -> ModuleScope | None:
        """A folder without `__init__.py` that holds modules of the project."""
        if folder == str(self.root) or not self._is_folder(folder):
            return None
        path = f"{folder}/__init__.py"
        scope = ModuleScope(self.module_name(path), FileFacts(path, (), (0,)))
        self._scopes[path] = scope
        return scope


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root if root.endswith("/") else f"{root}/")
