"""Hostile and damaged files, each linted as a project of its own: what crashes, what hangs?

Each file is linted with every rule, twice when that is quick, printed in every format, and fixed
in memory: a crash is an exception, a BNL903, a second run that says otherwise, or a fix after which
a file no longer parses. A process that dies or takes longer than --limit seconds of CPU time is
started anew. At last all kinds of files that are none lie in one folder with a file that has a
finding, which must be found.

    python benchmarks/hostile.py [--count 6000] [--lib FOLDER ...] [--only CLASS ...] [--keep DIR]
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import os
import resource
import signal
import sys
import sysconfig
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "agreement_programs"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "agreement"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trust"))

from heavy_programs import heavy
from hostile_inputs import (
    Inputs,
    deep,
    encoded,
    flipped,
    large,
    notebooks,
    odd,
    scrambled,
    truncated,
)

import bnlint
from bnlint.output import renderer
from bnlint.output.base import Printout
from bnlint.settings import OUTPUT_FORMATS, Settings
from bnlint.source.engine import open_workspace
from bnlint.source.excerpt import Sources
from bnlint.source.fixing import fix

TESTS = Path(__file__).parents[1] / "tests"
QUICK = 0.5
"""Seconds below which a file is linted again, printed and fixed."""
SETTINGS = Settings(select=("ALL",), jobs=1)


@dataclass
class Row:
    """One class of inputs: what came of them."""

    tried: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)
    findings: int = 0
    slowest: tuple[float, str] = (0.0, "")
    memory: int = 0


def main() -> int:
    options = _options()
    random = Random(options.seed)
    real = _real_files(options.real)
    classes: dict[str, Callable[[], Inputs]] = {
        "deep nesting": deep,
        "encodings": encoded,
        "odd bytes": odd,
        "large files": large,
        "heavy programs": heavy,
        "notebooks": lambda: notebooks(real, options.count // 2, random),
        "truncated": lambda: truncated(real, options.count, random),
        "flipped bits": lambda: flipped(real, options.count, random),
        "scrambled": lambda: scrambled(real, options.count, random),
        "library": lambda: _library(options.lib),
        "torch programs": lambda: _programs(options.count // 6),
    }
    rows: dict[str, Row] = {}
    print(
        f"{'class':<16}{'tried':>7}{'BNL901':>8}{'findings':>9}{'crashes':>8}{'hangs':>6}  slowest"
    )
    for name, make in classes.items():
        if not options.only or name in options.only:
            rows[name] = _try_all(make(), options.limit, options.keep)
            _print(name, rows[name])
    print(f"total {sum(row.tried for row in rows.values())} files")
    for name, row in rows.items():
        for what, count in [*row.crashes.most_common(5), *((h, 1) for h in row.hangs)]:
            print(f"  {name}: {count} x {what}")
    bad = not _odd_folder()
    return int(bad or any(row.crashes or row.hangs for row in rows.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6_000, help="of each class of damaged files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=10, help="seconds of CPU time for one file")
    parser.add_argument("--only", nargs="*", help="only these classes")
    parser.add_argument("--keep", type=Path, help="keep what crashes or hangs there")
    library = [Path(sysconfig.get_path("stdlib"))]
    parser.add_argument("--lib", type=Path, nargs="*", default=library)
    parser.add_argument("--real", type=Path, nargs="*", default=[TESTS.parent / "fixtures"])
    return parser.parse_args()


def _real_files(folders: list[Path]) -> list[Path]:
    found = [p for f in folders for s in ("*.py", "*.ipynb") for p in sorted(f.rglob(s))]
    return [p for p in found if p.is_file() and 0 < p.stat().st_size < 60_000]


def _library(folders: list[Path]) -> Inputs:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if "site-packages" not in path.parts and path.is_file():
                yield str(path), path.read_bytes()


def _programs(count: int) -> Inputs:
    import generated
    import generated_programs

    for seed in range(count):
        for program in (generated.generate(seed), generated_programs.generate(seed)):
            for name, text in program.texts.items():
                yield f"{seed} {name}", text.encode()


def _print(name: str, row: Row) -> None:
    refused = sum(row.refused.values())
    crashes = sum(row.crashes.values())
    seconds, slowest = row.slowest
    print(
        f"{name:<16}{row.tried:>7}{refused:>8}{row.findings:>9}{crashes:>8}{len(row.hangs):>6}"
        f"  {seconds:.1f} s, {row.memory} MB: {slowest}",
        flush=True,
    )


def _try_all(inputs: Inputs, limit: float, keep: Path | None) -> Row:
    row = Row()
    with suppress(KeyboardInterrupt):  # what was tried until then counts
        _try_each(row, inputs, limit, keep)
    return row


def _try_each(row: Row, inputs: Inputs, limit: float, keep: Path | None) -> None:
    worker: Worker | None = None
    for name, data in inputs:
        row.tried += 1
        worker = worker or Worker()
        verdict = worker.lint(name, data, limit)
        if isinstance(verdict, str):
            worker = None
            row.hangs.append(f"{verdict}: {name}")
        else:
            _note(row, name, verdict)
        if keep is not None and (isinstance(verdict, str) or verdict.crashes):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{row.tried} {Path(name).name}"[:200]).write_bytes(data)
    if worker is not None:
        worker.end()


def _note(row: Row, name: str, verdict: Verdict) -> None:
    row.crashes.update(verdict.crashes)
    row.refused.update(verdict.refused)
    row.findings += verdict.findings
    row.slowest = max(row.slowest, (verdict.seconds, Path(name).name[:40]))
    row.memory = max(row.memory, verdict.memory)


@dataclass(frozen=True)
class Verdict:
    """What came of one file. memory: the most that the process has used so far, in MB."""

    crashes: tuple[str, ...]
    refused: tuple[str, ...]
    findings: int
    seconds: float
    memory: int


class Worker:
    """A process that lints what it is given."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()

    def lint(self, name: str, data: bytes, limit: float) -> Verdict | str:
        """What came of it, or how the process ended."""
        self._pipe.send((name, data))
        start = self._cpu()
        while not self._pipe.poll(0.5):
            if not self._process.is_alive():
                return f"died with {self._process.exitcode}"
            if self._cpu() - start > 3 * limit:  # twice, printed, fixed
                self.end()
                return f"more than {3 * limit:.0f} s"
        try:
            verdict: Verdict = self._pipe.recv()
        except EOFError:
            self._process.join(5)
            return f"died with {self._process.exitcode}"
        if verdict.seconds > limit:
            self.end()
            return f"{verdict.seconds:.1f} s"
        return verdict

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()

    def _cpu(self) -> float:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            name, data = pipe.recv()
            file = Path(folder) / f"x{Path(name).suffix}"
            file.write_bytes(data)
            pipe.send(_judge(file))
            file.unlink()


def _judge(file: Path) -> Verdict:
    start = time.process_time()
    crashes: list[str] = []
    refused: list[str] = []
    findings = 0
    seconds = 0.0
    try:
        result = bnlint.lint_paths([file], settings=SETTINGS)
        seconds = time.process_time() - start
        crashes += [f"{crash.what}: {crash.error[:200]}" for crash in result.crashes]
        refused = [f.message for f in result.findings if f.code == "BNL901"]
        findings = len(result.findings) - len(refused)
        if seconds < QUICK:
            crashes += _further(file, result)
    except BaseException as error:
        seconds = seconds or time.process_time() - start
        crashes.append(f"{type(error).__name__}: {str(error)[:200]}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Verdict(tuple(crashes), tuple(refused), findings, seconds, memory)


def _further(file: Path, result: bnlint.LintResult) -> list[str]:
    """Lint again, print, fix."""
    if bnlint.lint_paths([file], settings=SETTINGS).findings != result.findings:
        return ["a second run says otherwise"]
    sources = Sources({})
    printout = Printout(result.findings, 1, sources.lines, colour=True, in_file=sources.in_file)
    for output_format in OUTPUT_FORMATS:
        renderer(output_format)(printout).encode()
    if not any(finding.fix for finding in result.findings):
        return []
    fixed = fix(open_workspace([file], SETTINGS), unsafe=True)
    for change in fixed.changes:
        if file.suffix == ".py" and _parses(change.before) and not _parses(change.after):
            return ["a fix that does not parse"]
    return []


def _parses(data: bytes) -> bool:
    try:
        ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _odd_folder() -> bool:
    """One run over everything in a folder that is no file, and a file with a finding."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "good.py").write_text("import torch.nn as nn\nnn.BatchNorm2d(8, momentum=0.99)\n")
        (folder / "folder.py").mkdir()
        (folder / "loop.py").symlink_to(folder / "loop.py")
        (folder / "up").symlink_to(folder)
        (folder / "dangling.py").symlink_to(folder / "gone.py")
        (folder / "zero.py").symlink_to("/dev/zero")
        os.mkfifo(folder / "pipe.py")
        for number, (_, data) in enumerate([*odd(), *deep()]):
            (folder / f"hostile_{number}.py").write_bytes(data)
        start = time.process_time()
        result = bnlint.lint_paths([folder], settings=SETTINGS)
        seconds = time.process_time() - start
        found = [f for f in result.findings if f.place and f.place.path.endswith("good.py")]
        fine = [f.code for f in found] == ["BNL401"] and not result.crashes and not result.errors
        said = "as it should be" if fine else f"wrong: {found} {result.crashes} {result.errors}"
        print(f"all in one folder: {len(result.files)} files, {seconds:.1f} s, {said}")
        return fine


if __name__ == "__main__":
    sys.exit(main())
