"""How fast bnlint is, as ratios to other programs in the same run.

    python benchmarks/speed.py                   all rows, medians of five runs
    python benchmarks/speed.py --rows warm,parse only some
    python benchmarks/speed.py --quick           smaller corpora, one run each: the smoke run
    python benchmarks/speed.py --plot growth.svg also a plot of time against the number of files

Wheels and other linters are fetched from PyPI into --work, once. The figure of each row is a median
and so is what it is compared with; a goal says what the ratio should be at most.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from corpora import TOOLS, VERSIONS, corpus, listed_files, synthetic, tool
from measuring import Cost, typical

LINT = [sys.executable, "-m", "bnlint", "lint"]
SIZES = (300, 600, 1200, 2400, 6000)
QUICK_SIZES = (40, 80)
SMALL, LARGE = ("segmentation_models_pytorch", "timm"), "transformers"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, against what, and what it should be."""

    name: str
    figure: float
    reference: float
    unit: str
    goal: float | None
    note: str = ""

    @property
    def ratio(self) -> float:
        """The figure in units of what it is compared with."""
        return self.figure / self.reference if self.reference else float("inf")


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure. work: where the corpora lie; rounds: runs of each command."""

    work: Path
    rounds: int
    quick: bool
    large: str = LARGE

    def lint(self, folder: Path, *options: str, cold: bool = False, memory: bool = False) -> Cost:
        """bnlint over a folder; cold: without a cache before it."""
        command = [*LINT, "--exit-zero", "--output-format", "concise", *options]
        before = partial(_forget, folder) if cold else (lambda: None)
        return typical(command, folder, self.rounds, before=before, memory=memory)

    def imports(self, module: str) -> float:
        """Seconds of a Python that imports a module and ends."""
        return typical([sys.executable, "-c", f"import {module}"], self.work, self.rounds * 3).wall


def _forget(folder: Path) -> None:
    shutil.rmtree(folder / ".bnlint_cache", ignore_errors=True)


def cold_rows(bench: Bench) -> Iterator[Row]:
    """A first run against other linters."""
    for name in SMALL[:1] if bench.quick else SMALL:
        folder = corpus(name, bench.work)
        ours = bench.lint(folder, "--jobs", "2", cold=True)
        others = {
            "ruff": ([tool("ruff", bench.work), "check", "--no-cache", "--select", "F,E,B"], None)
        }
        if not bench.quick:
            torchfix = [tool("torchfix", bench.work), "--select=ALL", "-j", "2"]
            pylint = [tool("pylint", bench.work), "-E", "-j", "2", "--recursive=y"]
            others |= {"torchfix": (torchfix, 1 / 15), "pylint": (pylint, 1 / 20)}
        for other, (command, goal) in others.items():
            cost = typical([*command, "."], folder, bench.rounds)
            yield Row(f"cold {name} / {other}", ours.wall, cost.wall, "s", goal)


def parse_rows(bench: Bench) -> Iterator[Row]:
    """The CPU of reading and of the whole run against that of the bare parser."""
    import libcst

    from bnlint.source.reader import read_bytes

    files = listed_files(bench.work)[: 30 if bench.quick else None]
    texts = [(str(path), path.read_bytes()) for path in files]

    def parse() -> None:
        for _, data in texts:
            libcst.parse_module(data)

    def read() -> None:
        for path, data in texts:
            read_bytes(path, data)

    parsed, whole = (_cpu(work, bench.rounds) for work in (parse, read))
    words = f"{len(files)} files"
    yield Row("reading beyond the parse / parse", whole - parsed, parsed, "s CPU", 0.5, words)
    if bench.quick:
        return
    total = 0.0
    seen = 0
    for name in ("segmentation_models_pytorch", "timm", "speechbrain"):
        folder = corpus(name, bench.work)
        total += bench.lint(folder, "--jobs", "1", cold=True).cpu
        seen += sum(1 for _ in folder.rglob("*.py"))
    words = f"{len(files)} of {seen} files match ({len(files) / seen:.0%})"
    yield Row("cold run, all CPU / parse", total, parsed, "s CPU", 1.6, words)


def _cpu(work: Callable[[], None], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def warm_rows(bench: Bench) -> Iterator[Row]:
    """Runs after the first one."""
    folder = _copy(corpus(bench.large, bench.work), bench.work / "warm")
    jobs = ("--jobs", "2")
    once = Bench(bench.work, 1, bench.quick, bench.large)
    first = once.lint(folder, *jobs, cold=True, memory=True)
    yield Row(f"cold {bench.large}, peak memory", first.memory / 1e6, 600, "MB", 1.0)
    time.sleep(2.1)  # until the times of all files can be trusted
    once.lint(folder, *jobs)
    click, libcst = bench.imports("click"), bench.imports("libcst")
    warm = bench.lint(folder, *jobs, memory=True)
    yield Row("warm, nothing changed / import click", warm.wall, click, "s", 4)
    yield Row("warm, peak memory", warm.memory / 1e6, 150, "MB", 1.0)
    choices = iter(range(10**6))
    costs = [
        once.lint(folder, *jobs, "--extend-ignore", f"BNL{20 + next(choices) % 10}", memory=True)
        for _ in range(bench.rounds)
    ]
    chosen = Cost(
        statistics.median(cost.wall for cost in costs), 0, max(cost.memory for cost in costs)
    )
    yield Row("warm, other rules chosen / import click", chosen.wall, click, "s", 8)
    yield Row("warm, other rules, peak memory", chosen.memory / 1e6, 150, "MB", 1.0)
    yield from _changed_rows(bench, folder, libcst)
    ruff = [tool("ruff", bench.work), "check", "--select", "F,E,B", "."]
    yield Row("warm / ruff, warm", warm.wall, typical(ruff, folder, bench.rounds).wall, "s", None)


def _changed_rows(bench: Bench, folder: Path, libcst: float) -> Iterator[Row]:
    """The pre-commit case: one file has changed and is given, the cache knows the others."""
    once = Bench(bench.work, 1, bench.quick, bench.large)
    once.lint(folder, "--jobs", "2")  # the choices of rules before it have their own results
    edits = {
        "its comments": (bench.rounds, "\n# changed {}\n"),
        "its code": (1, "\n\ndef changed(model):\n    return model, {}\n"),
    }
    for words, path in _changed_files(folder):
        text = path.read_text()
        for kind, (rounds, more) in edits.items():
            costs = []
            for number in range(rounds):
                path.write_text(text + more.format(number))
                costs.append(once.lint(folder, "--jobs", "2", str(path.relative_to(folder))))
            path.write_text(text)
            wall = statistics.median(cost.wall for cost in costs)
            name = f"one changed file ({words}; {kind}) / import libcst"
            yield Row(name, wall, libcst, "s", 2.5)


def _changed_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """A file that no rule can read anything in, and one with a model."""
    files = sorted(folder.rglob("*.py"))
    plain = (p for p in files if b"torch" not in (data := p.read_bytes()) and len(data) > 2000)
    model = (p for p in files if b"BatchNorm2d" in p.read_bytes())
    for words, found in (("no model in it", plain), ("a model in it", model)):
        path = next(found, None)
        if path is not None:
            yield words, path


def _copy(folder: Path, place: Path) -> Path:
    if place.is_dir():
        shutil.rmtree(place)
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns(".bnlint_cache"))
    (place / "pyproject.toml").touch()  # a file that is given alone belongs to the whole, too
    return place


def growth_rows(bench: Bench, plot: Path | None) -> Iterator[Row]:
    """Twice the files against the time."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    rounds = Bench(bench.work, min(bench.rounds, 3), bench.quick)
    times = {
        size: rounds.lint(synthetic(size, bench.work), "--jobs", "1", cold=True).cpu
        for size in sizes
    }
    for small, large in pairwise(sizes):
        doublings = large / small
        goal = 2.1 * doublings / 2
        name = f"{large} files / {small} files"
        yield Row(name, times[large], times[small], "s CPU", goal)
    if plot is not None:
        _plot(times, plot)


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
    print(f"{'row':66} {'figure':>10} {'against':>10} {'ratio':>8} {'goal':>8}")
    for row in rows:
        good = row.goal is None or row.ratio <= row.goal
        met &= good
        goal = "" if row.goal is None else f"{row.goal:.3g}"
        verdict = "" if row.goal is None else ("  met" if good else "  MISSED")
        figures = f"{row.figure:10.3f} {row.reference:10.3f} {row.ratio:8.3f} {goal:>8}"
        print(f"{row.name:66} {figures} {row.unit}{verdict} {row.note}", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="cold,parse,warm,growth", help="which, by commas")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    parser.add_argument("--quick", action="store_true", help="small corpora, one run each")
    parser.add_argument("--large", default=LARGE, choices=sorted(VERSIONS), help="the warm corpus")
    parser.add_argument("--plot", type=Path, help="write the growth there, as SVG")
    default = Path(tempfile.gettempdir()) / "bnlint-benchmarks"
    parser.add_argument("--work", type=Path, default=default, help="where the corpora lie")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    large = SMALL[0] if options.quick else options.large
    bench = Bench(options.work, 1 if options.quick else options.rounds, options.quick, large)
    kinds: dict[str, Callable[[], Iterator[Row]]] = {
        "cold": partial(cold_rows, bench),
        "parse": partial(parse_rows, bench),
        "warm": partial(warm_rows, bench),
        "growth": partial(growth_rows, bench, options.plot),
    }
    for line in machine():
        print(line)
    wanted = options.rows.split(",")
    met = show(row for kind in wanted for row in kinds[kind]())
    raise SystemExit(0 if met or options.quick else 1)


if __name__ == "__main__":
    main()
