"""Lint every package of an environment, each in a process of its own: what crashes, what hangs, how
much memory?

The Python files of a package are copied into a folder of their own, so that its imports are found
and nothing around them is. A row is a package: files, seconds of CPU, peak memory, findings by
code; a process that passes --limit seconds of CPU or --memory GB, or dies, counts as failed. The
heaviest come last.

    python benchmarks/installed.py [FOLDER] [--only NAME ...] [--whole] [--no-prefilter]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MODULES = "(modules)"
"""The name of what lies in the folder itself, in no package."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a package. seconds: of CPU; memory: the peak in bytes; failure: empty where the
    run came to its end."""

    name: str
    files: int
    seconds: float
    memory: int
    codes: Counter[str]
    failure: str


def main() -> int:
    options = _options()
    folder = options.folder.resolve()
    packages = _packages(folder)
    if options.only:
        packages = {name: packages[name] for name in options.only}
    if options.whole:
        packages = {"(whole)": [file for files in packages.values() for file in files]}
    print(f"{'package':<26}{'files':>7}{'CPU s':>8}{'MB':>7}{'BNL903':>8}{'BNL901':>8}  others")
    rows = []
    for name, files in sorted(packages.items(), key=_weight):
        row = _lint(name, folder, files, options)
        rows.append(row)
        print(_line(row), flush=True)
    total = sum((row.codes for row in rows), Counter[str]())
    seconds, files = sum(row.seconds for row in rows), sum(row.files for row in rows)
    peak = max((row.memory for row in rows), default=0)
    failed = sum(bool(row.failure) for row in rows)
    print(_line(Row(f"{len(rows)} packages", files, seconds, peak, total, "")))
    print(f"{failed} failed")
    return int(failed > 0 or total["BNL903"] > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--only", nargs="*", help="only these packages")
    parser.add_argument("--whole", action="store_true", help="all of them in one run")
    parser.add_argument("--limit", type=int, default=3_600, help="seconds of CPU for one run")
    parser.add_argument("--memory", type=float, default=8, help="GB of address space for one run")
    parser.add_argument("--no-prefilter", action="store_true")
    return parser.parse_args()


def _packages(folder: Path) -> dict[str, list[Path]]:
    """The Python files of each package."""
    found: dict[str, list[Path]] = {MODULES: sorted(folder.glob("*.py"))}
    for package in folder.iterdir():
        if package.is_dir() and not package.is_symlink() and package.name != "__pycache__":
            found[package.name] = sorted(_python_files(package))
    return {name: files for name, files in found.items() if files}


def _python_files(package: Path) -> Iterator[Path]:
    for path in package.rglob("*"):
        if path.suffix in (".py", ".ipynb") and path.is_file() and not path.is_symlink():
            yield path


def _weight(package: tuple[str, list[Path]]) -> int:
    return sum(path.stat().st_size for path in package[1])


def _lint(name: str, folder: Path, files: list[Path], options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory() as temporary:
        root, answer = Path(temporary, "root"), Path(temporary, "findings.json")
        for file in files:
            place = root / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        command = [sys.executable, "-m", "bnlint", "lint", str(root), "--root", str(root)]
        command += ["--isolated", "--no-cache", "--jobs", "1", "--select", "ALL", "--exit-zero"]
        command += ["--exclude", "nothing", "--output-format", "json", "--output-file", str(answer)]
        command += ["--no-prefilter"] if options.no_prefilter else []
        return _run(name, len(files), command, answer, options)


def _run(
    name: str, files: int, command: list[str], answer: Path, options: argparse.Namespace
) -> Row:
    def guard() -> None:
        memory = int(options.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (options.limit, options.limit))

    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    errors = answer.with_name("errors")
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=stream, preexec_fn=guard
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, memory = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    if process.returncode or not answer.exists():
        said = errors.read_text(errors="replace").strip().splitlines()[-1:] or [""]
        return Row(name, files, seconds, memory, Counter(), f"{process.returncode}: {said[0]}")
    codes = Counter(str(finding["code"]) for finding in json.loads(answer.read_text()))
    return Row(name, files, seconds, memory, codes, "")


def _line(row: Row) -> str:
    others = {code: n for code, n in sorted(row.codes.items()) if code not in ("BNL901", "BNL903")}
    said = row.failure or " ".join(f"{code}:{count}" for code, count in others.items())
    megabytes, crashes = row.memory / 1e6, row.codes["BNL903"]
    return (
        f"{row.name:<26}{row.files:>7}{row.seconds:>8.1f}{megabytes:>7.0f}{crashes:>8}"
        f"{row.codes['BNL901']:>8}  {said}"
    )


if __name__ == "__main__":
    sys.exit(main())
