"""Mutation run: of all small changes of a rule or a formula, which does no test notice?

The mutants are mutmut's (`pip install mutmut`), and other severities. Each runs in a fork of one
process that has loaded everything and collected the tests that concern the file: those that name
the rule, its examples, its fixtures; of the live half the tests of the numbers. What a rule does
not decide - reading the source and drawing it - is done once for all mutants.

    python benchmarks/mutation.py [FILE ...] [--sample 200] [--words 20] [--survivors out.txt]
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final

import pytest
from mutants import Mutant, mutants

if TYPE_CHECKING:
    from bnlint.rules.base import Pictures
    from bnlint.source.isolation import Isolation
    from bnlint.source.links import Links
    from bnlint.source.project import Project

ROOT: Final = Path(__file__).resolve().parents[1]
RULES: Final = ROOT / "bnlint" / "rules"
LIVE: Final = (
    "control", "curve", "drift", "dropouts", "measure", "moments", "numbers", "observe",
    "recalibrate", "sharing", "statistics",
)  # fmt: skip
"""The modules of the live half that hold formulas."""
NUMERICS: Final = (
    "tests/live/test_live_numerics.py",
    "tests/live/test_live_layer_numbers.py",
    "tests/live/test_live_drift.py",
    "tests/live/test_live_structure.py",
    "tests/live/test_live_curve.py",
    "tests/live/test_live_statistics.py",
)
FIXTURES: Final = "tests/test_fixtures.py"
OF_ALL_RULES: Final = (
    FIXTURES,
    "tests/rules/test_rules.py",
    "tests/rules/test_copies.py",
    "tests/rules/test_instances.py",
)
"""Tests of every rule, of which those count whose parameters name the rule."""
OF_ALL_FIXTURES: Final = ("expected_findings", "says_is_complete")
"""Tests without parameters that hold for the fixtures of any rule."""
PROGRAMS: Final = {
    "bnl101": ("tests/source/test_mode_programs.py", "tests/source/test_outcome_programs.py"),
    "bnl102": ("tests/source/test_loaders.py",),
    "bnl103": ("tests/source/test_leaks.py", "tests/source/test_mode_programs.py"),
    "bnl106": ("tests/source/test_freezing.py",),
    "inference": (
        "tests/source/test_mode_programs.py",
        "tests/source/test_one_value.py",
        "tests/source/test_outcome_programs.py",
    ),
    "left_behind": ("tests/source/test_leaks.py", "tests/source/test_mode_programs.py"),
    "mode_fixes": ("tests/cli/test_fix.py", "tests/source/test_insertion.py"),
}
"""Tests of the source half that are about a rule."""
LIVE_RULES: Final = frozenset({"503", "504", "505", "506", "603"})
"""Rules that only a run knows."""
SLOWEST: Final = 0.5
"""Seconds: a test that takes longer is left out."""


@dataclass
class Score:
    """Of the mutants of a file: how many were made, tried and noticed."""

    made: int = 0
    tried: int = 0
    killed: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    def __str__(self) -> str:
        share = f"{self.killed / self.tried:.0%}" if self.tried else "-"
        return f"{self.made:>7}{self.tried:>7}{self.killed:>7}{share:>6}"


def main() -> int:
    options = _options()
    chosen = [path.resolve() for path in options.files] or _all_files()
    print(f"{'':<26}{'what it decides':<29}{'words':<27}{'':>8}")
    heading = f"{'made':>7}{'tried':>7}{'killed':>7}{'':>6}"
    print(f"{'file':<26}{heading}{heading}{'tests':>7}{'CPU s':>8}", flush=True)
    total = (Score(), Score())
    for path in chosen:
        scores = _in_process(path, options)
        for whole, part in zip(total, scores):
            whole.made, whole.tried = whole.made + part.made, whole.tried + part.tried
            whole.killed += part.killed
        if options.survivors is not None:
            with options.survivors.open("a", encoding="utf-8") as file:
                for mutant in (*scores[0].survivors, *scores[1].survivors):
                    print(f"# {mutant.name}\n{mutant.diff}\n", file=file)
    print(f"{'all':<26}{total[0]}{total[1]}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", help="default: all rules and formulas")
    parser.add_argument("--sample", type=int, default=200, help="mutants of a file at most")
    parser.add_argument("--words", type=int, default=20, help="of texts and fixes at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--survivors", type=Path, help="append what nobody notices to this file")
    return parser.parse_args()


def _all_files() -> list[Path]:
    rules = [path for path in sorted(RULES.glob("*.py")) if not path.stem.startswith("bnl9")]
    return [*rules, *(ROOT / "bnlint" / "live" / f"{name}.py" for name in LIVE)]


def _in_process(path: Path, options: argparse.Namespace) -> tuple[Score, Score]:
    """One file in a process of its own, which has loaded nothing before."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, path, options))
    process.start()
    theirs.close()
    try:
        scores: tuple[Score, Score] = mine.recv()
    except EOFError:
        raise SystemExit(f"{path}: the tests could not be run") from None
    process.join()
    return scores


def _serve(pipe: Connection, path: Path, options: argparse.Namespace) -> None:
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found = mutants(module, path)
    random = Random(f"{options.seed} {module}")
    deciding = [mutant for mutant in found if not mutant.words]
    words = [mutant for mutant in found if mutant.words]
    trials = Trials(
        path,
        random.sample(deciding, min(options.sample, len(deciding))),
        random.sample(words, min(options.words, len(words))),
    )
    before = os.times()
    files = _tests(path)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not slow"]
        status = pytest.main([*arguments, *files], plugins=[trials])
    if trials.scores is None:
        raise SystemExit(f"{path}: pytest ends with {status}: {trials.failed}")
    after = os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    decisions, texts = trials.scores
    decisions.made, texts.made = len(deciding), len(words)
    name = f"{path.parent.name}/{path.name}"
    print(f"{name:<26}{decisions}{texts}{trials.count:>7}{cpu:>8.0f}", flush=True)
    pipe.send(trials.scores)


def _codes(path: Path) -> frozenset[str]:
    """The numbers of the rules that a file has a part in: its own, or those that import it."""
    if path.parent != RULES:
        return frozenset()
    users, pending = set[str](), [path.stem]
    while pending:
        name = pending.pop()
        users.add(name)
        word = re.compile(rf"bnlint\.rules\.{name}\b")
        others = (path for path in RULES.glob("*.py") if path.stem not in users)
        pending += [other.stem for other in others if word.search(other.read_text("utf-8"))]
    return frozenset(name[3:6] for name in users if re.fullmatch(r"bnl\d{3}", name))


def _tests(path: Path) -> list[str]:
    """The test files that concern a file."""
    if path.parent != RULES:
        return list(NUMERICS)
    codes = _codes(path)
    words = [path.stem, *(f"bnl{code}" for code in codes)]
    found = _naming("tests/rules", words)
    if path.stem in ("curves", "statistics"):  # formulas that the live half tests
        found += _naming("tests/live", [rf"bnlint\.rules\.{path.stem}"])
    elif not found or codes <= LIVE_RULES:
        found += _naming("tests/live", words)
    return list(dict.fromkeys((*found, *PROGRAMS.get(path.stem, ()), *OF_ALL_RULES)))


def _naming(folder: str, words: list[str]) -> list[str]:
    """The test files of a folder in which one of the words stands."""
    word = re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)
    tests = sorted((ROOT / folder).glob("test_*.py"))
    return [f"{folder}/{t.name}" for t in tests if word.search(t.read_text(encoding="utf-8"))]


class Trials:
    """A pytest plugin that runs the collected tests once, and then once for each mutant."""

    def __init__(self, path: Path, *groups: list[Mutant]) -> None:
        self._path, self._codes, self._groups = str(path), _codes(path), groups
        self._running = ""
        self._reached: dict[str, set[str]] = {}
        self._seconds: dict[str, float] = {}
        self.failed = ""
        self.scores: tuple[Score, Score] | None = None
        self.count = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self._concerns(item)]
        for module in {item.module for item in items if item.nodeid.startswith(FIXTURES)}:
            module._folders = partial(self._fixtures, module._folders())

    def _fixtures(self, folders: list[Path]) -> list[Path]:
        return [folder for folder in folders if folder.name[3:6] in self._codes]

    def _concerns(self, item: pytest.Item) -> bool:
        if item.nodeid.partition("::")[0] not in OF_ALL_RULES:
            return True
        named = set(re.findall(r"bnl(\d{3})", item.nodeid.lower()))
        if named:
            return bool(named & self._codes)
        if "small_batches" in item.name:
            return "301" in self._codes
        return item.name.endswith(OF_ALL_FIXTURES)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        remember_drawings()
        items = session.items
        self._run(items, stop=False)
        if self.failed:
            return True
        self._seconds.clear()
        sys.setprofile(self._note_reached)
        self._run(items, stop=False)  # now nothing is drawn or imported any more
        sys.setprofile(None)
        items = self._quick_first(items)
        self.count = len(items)
        gc.collect()
        gc.freeze()  # so that the children share the memory
        scores = [self._score(group, items) for group in self._groups]
        self.scores = (scores[0], scores[1])
        return True

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running = nodeid

    def _note_reached(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename == self._path:
            code: CodeType = frame.f_code
            name = code.co_qualname.partition(".<locals>")[0]
            self._reached.setdefault(name, set()).add(self._running)

    def _concerned(self, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """The tests that run the function; with one that reaches it through the fixtures linted
        for a whole file go the others of that file that have no parameters."""
        if not mutant.function:
            return items
        reached = self._reached.get(mutant.function, set())
        shared = any(each.startswith(FIXTURES) for each in reached)
        return [
            item
            for item in items
            if item.nodeid in reached
            or (shared and item.nodeid.startswith(FIXTURES) and "[" not in item.nodeid)
        ]

    def _quick_first(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Files whose tests are done soon come first; what takes too long is left out."""
        items = [item for item in items if self._seconds[item.nodeid] < SLOWEST]
        cost: dict[str, float] = {}
        for item in items:
            file = item.nodeid.partition("::")[0]
            cost[file] = cost.get(file, 0.0) + self._seconds[item.nodeid]
        return sorted(items, key=lambda item: cost[item.nodeid.partition("::")[0]])

    def _run(self, items: list[pytest.Item], *, stop: bool) -> bool:
        """Whether a test failed."""
        for item, following in zip(items, [*items[1:], None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if stop and self.failed:
                return True
        return bool(self.failed)

    def _score(self, group: Iterable[Mutant], items: list[pytest.Item]) -> Score:
        score = Score()
        for mutant in group:
            score.tried += 1
            concerned = self._concerned(mutant, items)
            limit = 5 * sum(self._seconds[item.nodeid] for item in concerned) + 10
            if concerned and _noticed(mutant, partial(self._run, concerned), limit):
                score.killed += 1
            else:
                score.survivors.append(mutant)
        return score


def _noticed(mutant: Mutant, run: Callable[..., bool], limit: float) -> bool:
    """Whether a test fails, or never ends, in a process with the mutant."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, _end)
            signal.setitimer(signal.ITIMER_REAL, limit)
            mutant.apply()
            status = int(run(stop=True))
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended) != 0


def _end(signal_number: int, frame: FrameType | None) -> None:
    os._exit(1)


def remember_drawings() -> None:
    """Projects that were read once are not read and drawn again, as long as they stay the same."""
    from bnlint.source import draw, engine
    from bnlint.source.links import Links

    opened: dict[object, engine.Workspace] = {}
    projects: dict[object, tuple[Project, Links, object]] = {}
    drawn: dict[int, tuple[Pictures, Project]] = {}
    real_text, real_open = engine.workspace_of_text, engine.open_workspace
    real_project, real_draw = Links.project, draw.draw

    def workspace_of_text(text: str, path: str, settings: object, **more: bool) -> object:
        if more:
            return real_text(text, path, settings, **more)  # type: ignore[arg-type]
        key = (text, path, repr(settings))
        if key not in opened:
            opened[key] = real_text(text, path, settings)  # type: ignore[arg-type]
        return opened[key]

    def open_workspace(paths: Iterable[object], settings: object, **more: object) -> object:
        paths = list(paths)
        make = partial(real_open, paths, settings, **more)
        if not all(str(path).startswith(str(ROOT / "fixtures")) for path in paths):
            return make()
        key = (tuple(map(str, paths)), repr(settings))
        if key not in opened:
            opened[key] = make()
        return opened[key]

    def project_once(links: Links) -> Project:
        key = (id(links), *((path, id(outcome)) for path, outcome in links.outcomes.items()))
        if key not in projects:
            projects[key] = (real_project(links), links, dict(links.outcomes))
        return projects[key][0]

    def draw_once(project: Project, isolated: Isolation) -> Pictures:
        if id(project) not in drawn:
            drawn[id(project)] = (real_draw(project, isolated), project)
        return drawn[id(project)][0]

    engine.workspace_of_text = workspace_of_text  # type: ignore[assignment]
    engine.open_workspace = open_workspace  # type: ignore[assignment]
    Links.project = project_once  # type: ignore[method-assign]
    draw.draw = draw_once


if __name__ == "__main__":
    sys.exit(main())
