"""How fast bnlint is, as ratios to other programs in the same run.

    python benchmarks/speed.py                    all rows
    python benchmarks/speed.py --rows warm,parse  only some: cold, parse, warm, edits, growth
    python benchmarks/speed.py --quick            smaller corpora, one run each: the smoke run
    python benchmarks/speed.py --plot growth.svg  also a plot of time against the number of files

Wheels and other linters are fetched from PyPI into --work, once. The figure of each row is a median
of --rounds runs, and so is what it is compared with: both take turns. A command whose runs have
taken --patience seconds is not run again, so that the long ones have fewer; the table says how
many. A goal says what the ratio should be at most.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from corpora import TOOLS, VERSIONS, corpus, listed_files, synthetic, tool
from measuring import Cost, Job, alternating, medians, typical

LINT = [sys.executable, "-m", "bnlint", "lint"]
SIZES = (300, 600, 1200, 2400, 6000)
QUICK_SIZES = (40, 80)
SMALL, LARGE = ("segmentation_models_pytorch", "timm"), "transformers"
LISTED = ("segmentation_models_pytorch", "timm", "speechbrain")
SETTLED = 2.1
"""Seconds after which the times of files that were written can be trusted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, against what, and what it should be.

    runs: of how many runs the two figures are medians.
    """

    name: str
    figure: float
    reference: float
    unit: str
    goal: float | None
    note: str = ""
    runs: tuple[int, int] = (1, 1)

    @property
    def ratio(self) -> float:
        """The figure in units of what it is compared with."""
        return self.figure / self.reference if self.reference else float("inf")


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure. work: where the corpora lie; rounds: runs of each command; patience: seconds
    for all runs of one command."""

    work: Path
    rounds: int
    patience: float
    quick: bool
    small: Sequence[str] = SMALL
    large: str = LARGE

    @property
    def once(self) -> Bench:
        """The same with one run of each command."""
        return replace(self, rounds=1)

    def job(self, folder: Path, *options: str, cold: bool = False, memory: bool = False) -> Job:
        """bnlint over a folder; cold: without a cache before it."""
        command = [*LINT, "--exit-zero", "--output-format", "concise", *options]
        before = partial(_forget, folder) if cold else (lambda: None)
        return Job(command, folder, before, memory, succeeds=True)

    def lint(self, folder: Path, *options: str, cold: bool = False, memory: bool = False) -> Cost:
        """What such runs cost."""
        job = self.job(folder, *options, cold=cold, memory=memory)
        return typical(job, self.rounds, self.patience)

    def imports(self, module: str) -> Job:
        """A Python that imports a module and ends."""
        return Job([sys.executable, "-c", f"import {module}"], self.work)

    def against(self, *jobs: Job) -> list[Cost]:
        """What commands cost that take turns."""
        return alternating(jobs, self.rounds, self.patience)


def compared(name: str, ours: Cost, other: Cost, goal: float | None, note: str = "") -> Row:
    """A row of wall times; beside it the times of the CPU, which others disturb less."""
    words = f"CPU {ours.cpu:.2f} to {other.cpu:.2f}"
    runs = (ours.runs, other.runs)
    return Row(name, ours.wall, other.wall, "s", goal, f"{note} ({words})".strip(), runs)


def in_memory(name: str, cost: Cost, limit: int) -> Row:
    """A row of the memory of a run, all its processes together, in MB."""
    return Row(name, cost.memory / 1e6, limit, "MB", 1.0, runs=(cost.runs, 1))


def _forget(folder: Path) -> None:
    shutil.rmtree(folder / ".bnlint_cache", ignore_errors=True)


def cold_rows(bench: Bench) -> Iterator[Row]:
    """A first run against other linters."""
    for name in bench.small:
        folder = corpus(name, bench.work)
        others: dict[str, tuple[list[str], float | None]] = {
            "ruff": (["check", "--silent", "--no-cache", "--select", "F,E,B"], None)
        }
        if not bench.quick:
            others["torchfix"] = (["--select=ALL", "-j", "2"], 1 / 15)
            others["pylint"] = (["-E", "-j", "2", "--recursive=y"], 1 / 20)
        jobs = [
            Job([tool(other, bench.work), *options, "."], folder)
            for other, (options, _) in others.items()
        ]
        ours, *costs = bench.against(bench.job(folder, "--jobs", "2", cold=True), *jobs)
        for (other, (_, goal)), cost in zip(others.items(), costs):
            part = "" if goal is None else f"1/{cost.wall / ours.wall:.1f}"
            yield compared(f"cold {name} / {other}", ours, cost, goal, part)


def parse_rows(bench: Bench) -> Iterator[Row]:
    """The CPU of reading and of the whole run against that of the bare parser."""
    import ast

    import libcst

    from bnlint.source.reader import read_bytes

    files = listed_files(bench.work)[: 30 if bench.quick else None]
    texts = [(str(path), path.read_bytes()) for path in files]

    contents = [data for _, data in texts]
    works = (
        partial(_each, libcst.parse_module, contents),
        partial(_each, ast.parse, contents),
        partial(_each, lambda known: read_bytes(*known), texts),
    )
    parsed, own, whole = (_cpu(work, bench.rounds) for work in works)
    runs = (bench.rounds, bench.rounds)
    words = f"{len(files)} files, parsed by ast; the bare parse is libcst's"
    yield Row("reading, parse included / parse", whole, parsed, "s CPU", 1.5, words, runs)
    yield Row("reading beyond ast.parse / parse", whole - own, parsed, "s CPU", 0.5, "", runs)
    if bench.quick:
        return
    folders = [corpus(name, bench.work) for name in LISTED]
    costs = [bench.lint(folder, "--jobs", "1", cold=True) for folder in folders]
    runs = (min(cost.runs for cost in costs), bench.rounds)
    words = f"{len(files)} files are parsed, bnlint's prefilter passes {_passed(folders)}"
    total = sum(cost.cpu for cost in costs)
    yield Row("cold run, all CPU / parse", total, parsed, "s CPU", 1.6, words, runs)
    for name, cost in zip(LISTED, costs):
        part = [data for path, data in texts if f"/{name}-" in path]
        parsed = _cpu(partial(_each, libcst.parse_module, part), 1)
        words = f"{len(part)} files"
        runs = (cost.runs, 1)
        yield Row(f"  of it {name}", cost.cpu, parsed, "s CPU", None, words, runs)


def _passed(folders: Iterable[Path]) -> str:
    """How many files of how many the prefilter lets through, and the share of their bytes."""
    from bnlint.settings import Settings
    from bnlint.source.ground import survey
    from bnlint.source.prefilter import relevant

    every: list[str] = []
    passed: list[str] = []
    for folder in folders:
        ground = survey([folder], Settings(root=folder, base=folder))
        every += ground.everything
        passed += relevant(ground.everything, ground.given.files, ground.given.named)
    share = _bytes(passed) / _bytes(every)
    return f"{len(passed)} of {len(every)} ({share:.0%} of the bytes)"


def _each(function: Callable[[Any], object], values: Iterable[Any]) -> None:
    for value in values:
        function(value)


def _bytes(paths: Iterable[str]) -> int:
    return sum(os.stat(path).st_size for path in paths)


def _cpu(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def warm_rows(bench: Bench) -> Iterator[Row]:
    """Runs after the first one."""
    from bnlint.rules import all_rules

    folder = _copy(bench)
    jobs = ("--jobs", "2")
    first = bench.once.lint(folder, *jobs, cold=True, memory=True)
    words = f"{first.wall:.0f} s of wall, {first.cpu:.0f} s of CPU"
    yield replace(in_memory(f"cold {bench.large}, peak memory", first, 600), note=words)
    time.sleep(SETTLED)
    bench.once.lint(folder, *jobs)
    ruff = Job([tool("ruff", bench.work), "check", "--silent", "--select", "F,E,B", "."], folder)
    click = bench.imports("click")
    warm, imported, other = bench.against(bench.job(folder, *jobs), click, ruff)
    yield compared("warm, nothing changed / import click", warm, imported, 4)
    yield compared("warm / ruff, warm", warm, other, None)
    cold_ruff = typical(replace(ruff, command=[*ruff.command, "--no-cache"]), 1, bench.patience)
    yield compared(f"cold {bench.large} / ruff, cold", first, cold_ruff, None)
    yield in_memory("warm, peak memory", bench.once.lint(folder, *jobs, memory=True), 150)
    chosen, clicks = [], []
    for rule in all_rules()[: bench.rounds]:  # each choice is a new one
        choice = ("--extend-ignore", rule.code)
        chosen.append(bench.once.lint(folder, *jobs, *choice, memory=True))
        clicks.append(typical(click, 1, bench.patience))
    name = "warm, other rules chosen"
    yield compared(f"{name} / import click", medians(chosen), medians(clicks), 8)
    yield in_memory(f"{name}, peak memory", medians(chosen), 150)


def edit_rows(bench: Bench) -> Iterator[Row]:
    """The pre-commit case: one file has changed and is given, the cache knows the others."""
    folder = bench.work / "warm" / bench.large
    if not folder.is_dir():
        _copy(bench)
    bench.once.lint(folder, "--jobs", "2")
    time.sleep(SETTLED)
    bench.once.lint(folder, "--jobs", "2")
    edits = {
        "its comments": ("", "\n# changed {}\n"),
        "a function of no model": ("", "\n\ndef changed(number):\n    return number + {}\n"),
        "its models": ("", "\n\nclass Changed(torch.nn.Linear):\n    number = {}\n"),
        "a forward": (_FORWARD, "        changed = {}\n"),
    }
    files = list(_changed_files(folder))
    for kind, (where, more) in edits.items():
        for words, path in files:
            if re.search(where, path.read_text(encoding="utf-8")):
                name = f"one changed file ({words}; {kind}) / import libcst"
                ours, other = _edited(bench, folder, path, where, more)
                yield compared(name, ours, other, 2.5)


_FORWARD = r"    def forward\((?:[^()]|\([^()]*\))*\)[^:\n]*:\n"


def _edited(bench: Bench, folder: Path, path: Path, where: str, more: str) -> tuple[Cost, Cost]:
    """A run after each of several edits of a file, and the import of libcst between them."""
    text = path.read_text(encoding="utf-8")
    ours: list[Cost] = []
    others: list[Cost] = []
    for number in range(bench.rounds):
        if sum(cost.wall for cost in ours) > bench.patience:
            break
        found = re.search(where, text) if where else None
        end = len(text) if found is None else found.end()
        changed = text[:end] + more.format(number) + text[end:]
        path.write_text(changed, encoding="utf-8")
        ours.append(bench.once.lint(folder, "--jobs", "2", str(path.relative_to(folder))))
        others.append(typical(bench.imports("libcst"), 1, bench.patience))
    path.write_text(text, encoding="utf-8")
    return medians(ours), medians(others)


def _changed_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """A file that no rule can read anything in, and of those with models one of middle size and the
    largest."""
    data = {path: path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    plain = (path for path, text in data.items() if b"torch" not in text and len(text) > 2000)
    models = sorted((len(text), path) for path, text in data.items() if b"BatchNorm2d" in text)
    yield from (("no model in it", path) for path in islice(plain, 1))
    if models:
        yield "models in it", models[len(models) // 2][1]
        yield f"models in it, {models[-1][0] // 1000} kB", models[-1][1]


def _copy(bench: Bench) -> Path:
    """A copy of the large corpus, to be edited."""
    place = bench.work / "warm" / bench.large
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns(".bnlint_cache", ".ruff_cache")
    shutil.copytree(corpus(bench.large, bench.work), place, ignore=ignored)
    (place / "pyproject.toml").touch()  # a file that is given alone belongs to the whole, too
    return place


def growth_rows(bench: Bench, plot: Path | None) -> Iterator[Row]:
    """Twice the files against the time."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    jobs = [bench.job(synthetic(n, bench.work), "--jobs", "1", cold=True) for n in sizes]
    costs = dict(zip(sizes, bench.against(*jobs)))
    for small, large in pairwise(sizes):
        goal = 2.1 ** math.log2(large / small)  # 2.1 for each doubling
        few, many = costs[small], costs[large]
        runs = (many.runs, few.runs)
        yield Row(f"{large} files / {small} files", many.cpu, few.cpu, "s CPU", goal, runs=runs)
    if plot is not None:
        _plot({size: cost.cpu for size, cost in costs.items()}, plot)


def _plot(times: dict[int, float], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(list(times), list(times.values()), "o-", label="bnlint, cold, one process")
    first = next(iter(times))
    line = [times[first] * size / first for size in times]
    axes.plot(list(times), line, "--", color="grey", label="proportional to the files")
    axes.set(xlabel="files", ylabel="CPU time (s)", title="Growth")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, format="svg")


def machine() -> Iterator[str]:
    """The machine and what was measured on it, in words."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc") else ():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    yield f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    yield f"load average when it began: {load:.1f} (ratios mean little on a busy machine)"
    ours = [f"{name} {version(name)}" for name in ("libcst", "click", "msgspec")]
    import bnlint

    yield f"Python {platform.python_version()}, bnlint {bnlint.__version__}, {', '.join(ours)}"
    yield ", ".join([*(f"{n} {v}" for n, v in VERSIONS.items()), *TOOLS.values()])


def show(rows: Iterable[Row]) -> bool:
    """Print rows as they come; whether all goals were met."""
    met = True
    heads = f"{'row':72} {'figure':>9} {'against':>9} {'ratio':>7} {'goal':>7} {'runs':>5}"
    print(heads)
    for row in rows:
        good = row.goal is None or row.ratio <= row.goal
        met &= good
        goal = "" if row.goal is None else f"{row.goal:.3g}"
        verdict = "" if row.goal is None else ("  met" if good else "  MISSED")
        figures = f"{row.figure:9.3f} {row.reference:9.3f} {row.ratio:7.3f} {goal:>7}"
        runs = "{},{}".format(*row.runs)
        print(f"{row.name:72} {figures} {runs:>5} {row.unit}{verdict} {row.note}", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="cold,parse,warm,edits,growth", help="by commas")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    parser.add_argument("--patience", type=float, default=120, help="seconds for one command")
    parser.add_argument("--quick", action="store_true", help="small corpora, one run each")
    parser.add_argument("--small", default=",".join(SMALL), help="corpora of the cold rows")
    parser.add_argument("--large", default=LARGE, choices=sorted(VERSIONS), help="the warm corpus")
    parser.add_argument("--plot", type=Path, help="write the growth there, as SVG")
    default = Path(tempfile.gettempdir()) / "bnlint-benchmarks"
    parser.add_argument("--work", type=Path, default=default, help="where the corpora lie")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    small = SMALL[:1] if options.quick else options.small.split(",")
    large = SMALL[0] if options.quick else options.large
    rounds = 1 if options.quick else options.rounds
    bench = Bench(options.work, rounds, options.patience, options.quick, small, large)
    kinds: dict[str, Callable[[], Iterator[Row]]] = {
        "cold": partial(cold_rows, bench),
        "parse": partial(parse_rows, bench),
        "warm": partial(warm_rows, bench),
        "edits": partial(edit_rows, bench),
        "growth": partial(growth_rows, bench, options.plot),
    }
    for line in machine():
        print(line)
    wanted = options.rows.split(",")
    met = show(row for kind in wanted for row in kinds[kind]())
    raise SystemExit(0 if met or options.quick else 1)


if __name__ == "__main__":
    main()
