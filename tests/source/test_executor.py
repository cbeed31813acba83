"""Reading on the executor of somebody else: same findings, whatever becomes of its workers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import bnlint
from bnlint.settings import Settings
from bnlint.source.outcome import Outcome
from bnlint.source.remote import read_content

FILES = 60
NORM = "import torch.nn as nn\n\nnorm = nn.BatchNorm2d({width}, momentum=0.99)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for number in range(FILES):
        (tmp_path / f"part{number}.py").write_text(NORM.format(width=number + 1))
    (tmp_path / "deep.py").write_text(f"import torch\nx = {'(' * 90}1{')' * 90}\n")
    (tmp_path / "broken.py").write_text("import torch\nx = = 1\n")
    return tmp_path


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_finds_the_same(project: Path, pool: Callable[[int], Executor]) -> None:
    expected = bnlint.lint_paths(project, settings=Settings(jobs=1))
    assert len(expected.findings) == FILES + 1
    with pool(2) as executor:
        assert bnlint.lint_paths(project, settings=Settings(), executor=executor) == expected


class Failing(Executor):
    """An executor whose workers die at every other file, and which is gone at the end."""

    def __init__(self) -> None:
        self.given = 0

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        self.given += 1
        if self.given > FILES // 2:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        if self.given % 2:
            future.set_exception(BrokenProcessPool("a worker died"))
        elif self.given % 3 == 0:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(function(*arguments))
        return future


def test_nothing_is_lost_with_a_worker(project: Path) -> None:
    expected = bnlint.lint_paths(project, settings=Settings(jobs=1))
    assert bnlint.lint_paths(project, settings=Settings(), executor=Failing()) == expected


def test_a_worker_needs_only_the_content() -> None:
    outcome = read_content("/nowhere/a.py", NORM.format(width=1).encode(), bnlint.__version__)
    assert isinstance(outcome, Outcome)
    assert outcome.facts is not None


def test_a_worker_of_another_version_is_told(project: Path, monkeypatch) -> None:
    monkeypatch.setattr("bnlint.source.remote.bnlint.__version__", "0.0.1")
    with pytest.raises(Exception, match=r"a worker has bnlint 0\.0\.1"):
        read_content("/a.py", b"", "0.1.0")


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """The line of a process's messages that has a word in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"the process ended before it said {word!r}")


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and two workers, each a process of its own; the scheduler's address."""
    pytest.importorskip("distributed")
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    plain = ["--no-dashboard", "--port", "0"]
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True}
    scheduler = subprocess.Popen([*dask, *plain], **pipes)
    workers: list[subprocess.Popen[str]] = []
    try:
        line = wait_for(scheduler, "Scheduler at:")
        address = line.rpartition("//")[2].strip()
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
        options = ["--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
        workers = [subprocess.Popen([*worker, *options], **pipes) for _ in range(2)]
        for process in workers:
            wait_for(process, "Registered to:")
        yield address, workers
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_dask_cluster_finds_the_same_when_a_worker_is_killed(project: Path, cluster) -> None:
    from bnlint.source.engine import lint_paths
    from bnlint.source.remote import connected

    address, workers = cluster
    expected = bnlint.lint_paths(project, settings=Settings(jobs=1))
    done: list[int] = []

    def kill_one(read: int, total: int) -> None:
        done.append(read)
        if len(done) == 5:
            workers[0].kill()
            workers[0].wait()

    with connected(f"dask://{address}") as executor:
        found = lint_paths(project, settings=Settings(), executor=executor, progress=kill_one)
    assert found == expected
    assert done[-1] == FILES + 2
    assert workers[0].poll() is not None
    assert workers[1].poll() is None
    command = [sys.executable, "-m", "bnlint", "--no-cache", "--output-format", "json"]
    command += ["--executor", f"dask://{address}", "."]
    start = time.monotonic()
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert len(json.loads(run.stdout)) == len(expected.findings), run.stderr
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "is no address such as dask://HOST:8786"),
        ("dask://", "is no address such as dask://HOST:8786"),
    ],
)
def test_wrong_addresses_are_told_in_one_line(project: Path, address: str, words: str) -> None:
    command = [sys.executable, "-m", "bnlint", "--no-cache", "--executor", address, "."]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert words in run.stderr
    assert run.stderr.count("\n") == 1
