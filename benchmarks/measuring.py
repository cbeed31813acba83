"""Commands run and measured: wall time, CPU and peak memory of the process and all its children."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
SAMPLE = 0.02
"""Seconds between two looks at the memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time and of CPU (user and system, all processes), and peak memory in bytes:
    the sum over all processes at one moment of what each holds by itself (shared pages are divided
    among those that share them); 0 where the system does not tell. runs: of how many runs these are
    the medians."""

    wall: float
    cpu: float
    memory: int
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """A command to be measured in a folder. before: what makes ready for each run; memory: whether
    its memory is watched, which costs it a little time; succeeds: it must exit with 0."""

    command: Sequence[str]
    folder: Path
    before: Callable[[], object] = lambda: None
    memory: bool = False
    succeeds: bool = False


def run(job: Job) -> Cost:
    """Run a command to its end. Raises RuntimeError when it does not end as a linter does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    start = time.perf_counter()
    before = os.times()
    process = subprocess.Popen(
        list(job.command),
        cwd=job.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = _Peak(process.pid) if job.memory else None
    errors = process.communicate()[1]
    wall = time.perf_counter() - start
    after = os.times()
    is_bad = process.returncode != 0 if job.succeeds else process.returncode < 0
    if is_bad or "Traceback (most recent call last)" in errors:
        words = " ".join(job.command)
        raise RuntimeError(f"{words}: exit {process.returncode}\n{errors[-2000:]}")
    cpu = after.children_user - before.children_user
    cpu += after.children_system - before.children_system
    return Cost(wall, cpu, 0 if peak is None else peak.stop())


def typical(job: Job, rounds: int, patience: float) -> Cost:
    """The medians of several runs."""
    return alternating([job], rounds, patience)[0]


def alternating(jobs: Sequence[Job], rounds: int, patience: float) -> list[Cost]:
    """The medians of each of several commands that take turns, so that whatever else the machine
    does in the meantime is shared by all of them. One whose runs have taken as many seconds as
    there is patience for is not run again."""
    taken: list[list[Cost]] = [[] for _ in jobs]
    for _ in range(rounds):
        for job, costs in zip(jobs, taken):
            if not costs or sum(cost.wall for cost in costs) < patience:
                job.before()
                costs.append(run(job))
    return [medians(costs) for costs in taken]


def medians(costs: Sequence[Cost]) -> Cost:
    """The medians of several runs of one command; of the memory the largest."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        max(cost.memory for cost in costs),
        len(costs),
    )


class _Peak:
    """Watches the memory of a process and its descendants in a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak in bytes."""
        self._done.set()
        self._thread.join()
        return self._highest

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE):
            self._highest = max(self._highest, sum(map(_memory, _family(self._pid))))


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def _memory(pid: int) -> int:
    """The proportional set size of a process in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    sizes: Mapping[str, int] = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if rest.strip().endswith("kB")
    }
    return sizes.get("Pss", 0)
