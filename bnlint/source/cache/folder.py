"""The cache's folder: where it is, whose it is, and files that appear whole or not at all."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import bnlint
from bnlint.records import Struct
from bnlint.settings import Settings
from bnlint.source.digests import blake2b
from bnlint.source.discover import CACHE, is_too_wide
from bnlint.source.plain import open_plain

FORMAT: Final = 2
"""Raise it when what is written changes its form."""
LARGEST: Final = 1 << 30
"""Bytes of the largest file that is read."""
VERSIONS: Final = 3
"""Sub-folders of other versions of bnlint or Python that are kept."""
KINDS: Final = ("tmp-", "pack-", "run-", "drawn-")
"""How the names of files begin, but for that of the index."""
_SEAL: Final = 16
_TAG: Final = b"""Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of bnlint's. It can be deleted at any time.
# See https://bford.info/cachedir/
"""


class Folder(Struct, frozen=True):
    """The files of one version of bnlint for one project. Nothing here raises OSError.

    top: the cache's own folder, which is marked as one; path: the version's, below it.
    """

    top: Path
    path: Path

    def read(self, name: str) -> bytes | None:
        """What was written under this name; None when it is not there, or not as it was written."""
        data = self.peek(name, 0, LARGEST)
        if data is None or len(data) < _SEAL or len(data) >= LARGEST:
            return None
        return data[_SEAL:] if _digest(data[_SEAL:]) == data[:_SEAL] else None

    def peek(self, name: str, offset: int, length: int) -> bytes | None:
        """A part of a file as it stands."""
        with suppress(OSError, ValueError), open_plain(self.path / name, follow=False) as file:
            file.seek(offset)
            return file.read(length)
        return None

    def write(self, name: str, data: bytes) -> bool:
        """Put a file there, in place of the one before; False when that cannot be done."""
        return self.write_parts(name, (data,))

    def write_parts(self, name: str, parts: Sequence[bytes]) -> bool:
        """The same for data in parts, which need not be in memory twice."""
        seal = blake2b(digest_size=_SEAL)
        for part in parts:
            seal.update(part)
        return self.put(name, (seal.digest(), *parts))

    def put(self, name: str, parts: Iterable[bytes]) -> bool:
        """The same for parts that carry their own seal."""
        temporary = self.path / f"tmp-{os.urandom(8).hex()}"  # tempfile is slow to import
        try:
            self._prepare()
            with open(temporary, "xb", opener=_open_for_us) as file:
                file.writelines(parts)
            os.replace(temporary, self.path / name)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            return False
        return True

    def names(self, prefix: str) -> list[str]:
        """The files whose names begin so, the newest first."""
        found: list[tuple[int, str]] = []
        with suppress(OSError), os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith(prefix):
                    with suppress(OSError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        return [name for _, name in sorted(found, reverse=True)]

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, as far as they are there."""
        for name in names:
            with suppress(OSError):
                os.unlink(self.path / name)

    def _prepare(self) -> None:
        if self.path.is_symlink():  # what is written behind it would lie in another's folder
            raise OSError(None, "a link", str(self.path))
        if self.path.is_dir():
            return
        self.top.mkdir(parents=True, exist_ok=True)
        for name, content in (("CACHEDIR.TAG", _TAG), (".gitignore", b"*\n")):
            with suppress(FileExistsError), open(self.top / name, "xb") as file:
                file.write(content)
        self.path.mkdir(exist_ok=True)
        self._forget_versions()

    def _forget_versions(self) -> None:
        """Delete what the least recently used other versions have left."""
        others = [p for p in self.top.iterdir() if p.is_dir() and p != self.path]
        others.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in others[VERSIONS - 1 :]:
            if not folder.is_symlink() and folder.name.startswith("v"):
                stale = Folder(self.top, folder)
                stale.remove([n for kind in KINDS for n in stale.names(kind)])
                stale.remove(["index"])
                with suppress(OSError):
                    folder.rmdir()


def _open_for_us(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)


def open_folder(settings: Settings, root: Path) -> Folder | None:
    """The folder for a project; None when nothing is to be kept, or when it cannot be trusted."""
    if settings.cache_dir is None and (not settings.cache or is_too_wide(root)):
        return None
    top = root / CACHE if settings.cache_dir is None else settings.cache_dir.absolute()
    if not _is_ours(top, follow=settings.cache_dir is not None):
        return None
    whose = "" if top.is_relative_to(root) else f"-{_digest(os.fsencode(root)).hex()[:16]}"
    return Folder(top, top / f"v{version_tag()}{whose}")


def _is_ours(top: Path, *, follow: bool) -> bool:
    """Whether a folder may be written to: it is not there yet, or nobody else's and no link."""
    try:
        found = os.stat(top, follow_symlinks=follow)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    is_folder = os.path.isdir(top) and (follow or not os.path.islink(top))
    return is_folder and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())


@cache
def version_tag() -> str:
    """What tells the facts and findings of one installation from those of another."""
    known = (FORMAT, sys.version_info[:3], sorted(_own_source()), _libcst_version())
    return f"{bnlint.__version__}-{_digest(repr(known).encode()).hex()[:16]}"


def _own_source() -> Iterator[tuple[str, int, int]]:
    """The state of bnlint's own files, unless it is an installed release, whose version says it."""
    package = Path(bnlint.__file__).parent
    if {"site-packages", "dist-packages"} & set(package.parts):
        return
    for folder, folders, files in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            found = os.stat(f"{folder}/{name}")
            yield os.path.relpath(f"{folder}/{name}", package), found.st_mtime_ns, found.st_size


def _libcst_version() -> bytes:
    """What tells one parser from another, without importing it."""
    spec = importlib.util.find_spec("libcst")
    places = spec.submodule_search_locations if spec is not None else None
    with suppress(OSError):
        for place in places or ():
            return Path(place, "_version.py").read_bytes()
    return b""


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SEAL).digest()
