"""The baseline: findings that were there when bnlint came, and are not to be shown."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, Final, NamedTuple

from bnlint.finding import Finding, Place, Role
from bnlint.fingerprint import Lines, context_of
from bnlint.records import Struct, replace
from bnlint.settings import CRASH, SettingsError
from bnlint.suppress import regroup

VERSION: Final = 1


class Entry(NamedTuple):
    """What is known of a place: the file (relative to the baseline's folder), the rule, and the
    accused line with its blanks normalised. No line number: moved code does not resurface."""

    path: str
    code: str
    context: str


class Marked(Struct, frozen=True):
    """findings: those of the baseline marked as suppressed; slack: entries that were not found in
    the files that were linted, with how often."""

    findings: tuple[Finding, ...]
    slack: Mapping[Entry, int]


class Baseline(Struct, frozen=True):
    """How many findings there are of each entry. folder: what the paths are relative to."""

    folder: Path
    counts: Mapping[Entry, int]

    @classmethod
    def of(cls, findings: Iterable[Finding], file: Path, lines: Lines) -> Baseline:
        """The baseline of all findings that no comment suppresses, to be kept in `file`."""
        folder = Path(os.path.abspath(file)).parent
        shown = [f for f in findings if not f.suppressed or f.baselined]
        places = ((finding, place) for finding in shown for place in _places(finding))
        return cls(folder, Counter(_entry(f, p, folder, lines) for f, p in places))

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """The baseline in a file; raises SettingsError."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            remedy = f"make it with --write-baseline {file}"
            problem = f"the baseline cannot be read: {error.strerror or error}: {remedy}"
            raise SettingsError(f"{file}: {problem}") from None
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{file}: the baseline is not valid JSON: {error}") from None
        return cls(Path(os.path.abspath(file)).parent, _counts(content, file))

    def text(self) -> str:
        """The file's content: sorted, one line for each entry, so that changes are readable."""
        files: dict[str, dict[str, dict[str, int]]] = {}
        for entry, count in sorted(self.counts.items()):
            files.setdefault(entry.path, {}).setdefault(entry.code, {})[entry.context] = count
        content = {"version": VERSION, "findings": files}
        return json.dumps(content, indent=2, ensure_ascii=True) + "\n"

    def mark(self, findings: Iterable[Finding], given: Set[str], lines: Lines) -> Marked:
        """Mark the findings that the baseline has, as often as it has them; a group of which only
        some places are in it is split. given: the files that were linted."""
        left = Counter(self.counts)
        marked: list[Finding] = []
        for finding in findings:
            marked += [finding] if finding.suppressed else self._split(finding, left, lines)
        paths = {_relative(path, self.folder) for path in given}
        slack = {entry: n for entry, n in left.items() if n > 0 and entry.path in paths}
        return Marked(tuple(marked), slack)

    def _split(self, finding: Finding, left: Counter[Entry], lines: Lines) -> list[Finding]:
        new: list[Place] = []
        old: list[Place] = []
        for place in _places(finding):
            entry = _entry(finding, place, self.folder, lines)
            known = left[entry] > 0
            left[entry] -= known
            (old if known else new).append(place)
        if not old:
            return [finding]
        if not new:
            return [_hidden(finding)]
        return [regroup(finding, new), _hidden(regroup(finding, old))]


def _hidden(finding: Finding) -> Finding:
    return replace(finding, suppressed=True, baselined=True)


def _places(finding: Finding) -> list[Place]:
    if finding.place is None or finding.code == CRASH:
        return []
    also = [step.place for step in finding.evidence if step.role is Role.INSTANCE]
    return [finding.place, *also]


def _entry(finding: Finding, place: Place, folder: Path, lines: Lines) -> Entry:
    return Entry(_relative(place.path, folder), finding.code, context_of(place, lines))


def _relative(path: str, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # another drive
        return path


def _counts(content: Any, file: Path) -> dict[Entry, int]:
    """The entries of a baseline file; raises SettingsError for anything else."""
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise SettingsError(f"{file}: is not a baseline of version {VERSION}: write it anew")
    counts: dict[Entry, int] = {}
    try:
        for path, codes in content["findings"].items():
            for code, contexts in codes.items():
                for context, count in contexts.items():
                    counts[Entry(path, code, context)] = int(count)
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = "must hold counts by file, code and line: write it anew with --write-baseline"
        raise SettingsError(f"{file}: the baseline {problem}") from None
    return counts
