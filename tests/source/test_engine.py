"""The run from paths to findings, on real small projects."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bnlint
from bnlint.finding import Finding, Place, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules import find_rule
from bnlint.rules.base import Pictures, Rule
from bnlint.settings import Settings
from bnlint.source.discover import MissingPathError
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.forked import read_forked
from bnlint.source.judge import judge
from bnlint.source.outcome import Outcome
from bnlint.source.processes import read_in_processes
from bnlint.source.reader import read_file
from bnlint.source.reading import read_files
from bnlint.source.values import Arguments, FunctionObject, Value

MODELS = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        return self.body(x)
"""
PLAIN = MODELS.replace(" nn.BatchNorm2d(8),", "")
EVALUATE = """\
import torch
from models import Net

net = Net()
net.load_state_dict(torch.load("net.pt"))
with torch.no_grad():
    for x, y in torch.load("data.pt"):
        print((net(x).argmax(1) == y).float().mean())
"""
MOMENTUM = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
HOSTILE = {
    "deep.py": "import torch\nx = " + "(" * 100_000 + "1" + ")" * 100_000,
    "chain.py": "import torch\nx = " + "a + " * 100_000 + "a",
    "long.py": "import torch\n" + "x = 1\n" * 100_000,
    "wide.py": "import torch\nx = '" + "a" * 1_000_000 + "'",
}


@pytest.fixture
def project(tmp_path: Path):
    def write(**files: str) -> Path:
        (tmp_path / "pyproject.toml").touch()
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return tmp_path

    return write


def found(result: bnlint.LintResult) -> list[tuple[str, str, int]]:
    places = [(f.code, f.place) for f in result.findings]
    return [(code, Path(p.path).name, p.line) for code, p in places if p is not None]


def test_a_folder_is_linted_and_sorted(project) -> None:
    root = project(b=MOMENTUM, a=MOMENTUM, c="import os\n")
    result = bnlint.lint_paths([root], settings=Settings())
    assert found(result) == [("BNL401", "a.py", 3), ("BNL401", "b.py", 3)]
    assert len(result.files) == 3
    assert result.reaches(Severity.ERROR)


def test_a_finding_is_reported_when_a_cause_lies_in_a_given_file(project) -> None:
    root = project(models=MODELS, evaluate=EVALUATE)
    whole = bnlint.lint_paths(root, settings=Settings())
    assert found(whole) == [("BNL101", "evaluate.py", 8)]
    one = bnlint.lint_paths([root / "models.py"], settings=Settings())
    assert found(one) == found(whole)
    assert "models.py:7" in one.findings[0].message
    (root / "models.py").write_text(PLAIN)
    assert found(bnlint.lint_paths([root / "models.py"], settings=Settings())) == []


def test_an_unrelated_given_file_hears_nothing_of_others(project) -> None:
    root = project(models=MODELS, evaluate=EVALUATE, other="import torch\n", more=MOMENTUM)
    assert found(bnlint.lint_paths([root / "other.py"], settings=Settings())) == []


def test_files_that_the_prefilter_leaves_out_are_loaded_on_demand(project) -> None:
    text = MOMENTUM.replace("0.99", "VALUE").replace("\n\n", "\nfrom values import VALUE\n")
    root = project(values="VALUE = 0.99\n", model=text)
    assert found(bnlint.lint_paths(root, settings=Settings())) == [("BNL401", "model.py", 3)]


@pytest.mark.parametrize(
    ("name", "head", "silent"),
    [
        ("tests/test_net.py", "", True),
        ("net/tests/layers/norm_test.py", "", True),
        ("checks.py", "import unittest\n", True),
        ("net/checks.py", "from pytest import mark\n", True),
        ("test_net.py", "", False),
        ("tests/net.py", "", False),
        ("tests.py", "", False),
        ("latest/test_net.py", "", False),
    ],
)
def test_networks_that_are_there_to_be_tested(
    tmp_path: Path, name: str, head: str, silent: bool
) -> None:
    (tmp_path / "pyproject.toml").touch()
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    forgotten = "\n\ndef check(net):\n    net.eval\n    return net\n"
    path.write_text(f"{head}{MOMENTUM}{forgotten}")
    codes = [
        finding.code for finding in bnlint.lint_paths([tmp_path], settings=Settings()).findings
    ]
    assert codes == (["BNL102"] if silent else ["BNL401", "BNL102"])


def test_one_text_is_linted_by_itself() -> None:
    result = bnlint.lint_source(MOMENTUM, "x.py")
    assert [(f.code, f.place.path) for f in result.findings if f.place] == [("BNL401", "x.py")]
    assert bnlint.lint_source("import torch\n").findings == ()
    assert [f.code for f in bnlint.lint_source("x = = 1").findings] == ["BNL901"]


def test_suppressed_findings_are_kept_and_marked(project) -> None:
    text = MOMENTUM.replace("0.99)", "0.99)  # bnlint: ignore[BNL401] on purpose")
    result = bnlint.lint_paths(project(a=text), settings=Settings())
    assert [f.suppressed for f in result.findings] == [True]
    assert not result.reaches(Severity.NOTE)


def test_ignored_and_unselected_rules_say_nothing(project) -> None:
    root = project(a=MOMENTUM)
    assert found(bnlint.lint_paths(root, settings=Settings(ignore=("BNL4",)))) == []
    assert found(bnlint.lint_paths(root, settings=Settings(select=("BNL1",)))) == []


def test_settings_are_read_from_the_project(project) -> None:
    root = project(a=MOMENTUM)
    (root / "pyproject.toml").write_text('[tool.bnlint]\nignore = ["BNL401"]\n')
    assert found(bnlint.lint_paths(root)) == []


def test_a_missing_path_raises(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError):
        bnlint.lint_paths([tmp_path / "no.py"], settings=Settings())


def test_a_file_that_cannot_be_opened_is_an_error_of_the_run(project) -> None:
    root = project(a=MOMENTUM)
    file = root / "gone.py"
    file.mkdir()
    (root / "b.py").symlink_to(file)
    result = bnlint.lint_paths([root], settings=Settings())
    assert found(result) == [("BNL401", "a.py", 3)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_hostile_files_cost_one_finding_each_and_little_time(tmp_path: Path, jobs: int) -> None:
    for name, text in {**HOSTILE, "good.py": MOMENTUM}.items():
        (tmp_path / name).write_text(text)
    start = time.monotonic()
    result = bnlint.lint_paths(tmp_path, settings=Settings(jobs=jobs))
    assert time.monotonic() - start < 90
    codes = {Path(f.place.path).name: f.code for f in result.findings if f.place is not None}
    assert codes == {**dict.fromkeys(HOSTILE, "BNL901"), "good.py": "BNL401"}


def deadly_reader(path: str) -> Outcome:
    """A reader whose process dies on some files."""
    if "deadly" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(path)


@pytest.mark.parametrize("read", [read_in_processes, read_forked])
def test_a_worker_that_dies_costs_one_file(read: Callable[..., Iterator[Outcome]]) -> None:
    # of files of one size, every second one falls to the first process, which is ours
    paths = [f"/{'deadly' if n in (4, 16) else 'good'}{n}.py" for n in range(30)]
    outcomes = {o.path: o for o in read(paths, 2, deadly_reader)}
    assert sorted(outcomes) == sorted(paths)
    died = [path for path, outcome in outcomes.items() if outcome.problem is not None]
    assert sorted(died) == ["/deadly16.py", "/deadly4.py"]


def test_one_process_and_several_say_the_same(project) -> None:
    root = project(**{f"m{n}": MOMENTUM + "# more\n" * 2_000 for n in range(30)})
    paths = [f"{root}/{name}.py" for name in ("gone", *(f"m{n}" for n in range(30)))]
    alone = {o.path: o for o in read_files(paths, 1)}
    assert {o.path: o for o in read_files(paths, 2)} == alone
    assert {o.path: o for o in read_forked(paths, 3, read_file)} == alone


def test_without_copies_a_file_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"/{n}.py" for n in range(9)]

    def no_fork() -> int:
        raise OSError("too many processes")

    open_files = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", no_fork)
    assert sorted(o.path for o in read_forked(paths, 3, Outcome)) == paths
    assert len(os.listdir("/proc/self/fd")) == open_files


def graph(line: int) -> LayerGraph:
    return LayerGraph(
        "Net", (Node(0, Kind.BATCHNORM, "torch.nn.BatchNorm2d", place=Place("/a.py", line)),)
    )


def fragile(pictures: Pictures) -> list[Finding]:
    """Crashes on a graph of line 13; else one finding for each graph."""
    places = [g.nodes[0].place for g in pictures.graphs]
    if any(place is not None and place.line == 13 for place in places):
        raise ZeroDivisionError("unlucky")
    return [Finding("BNL401", "n", Severity.ERROR, "m", place) for place in places]


def test_a_crashing_rule_costs_only_the_picture_it_crashes_on() -> None:
    rule = find_rule("BNL401")
    assert rule is not None
    broken = Rule(
        **{**{name: getattr(rule, name) for name in rule.__dataclass_fields__}, "check": fragile}
    )
    judgement = judge([broken, rule], Pictures(graphs=[graph(1), graph(13), graph(2)]))
    lines = [(f.code, f.place.line) for f in judgement.findings if f.place is not None]
    assert lines == [("BNL401", 1), ("BNL401", 2), ("BNL903", 13)]
    assert "ZeroDivisionError" in judgement.crashes[0].trace


def test_a_pipe_does_not_keep_the_run_waiting(project) -> None:
    root = project(norm=MOMENTUM)
    os.mkfifo(root / "pipe.py")
    result = bnlint.lint_paths([root / "pipe.py", root / "norm.py"], settings=Settings())
    assert [error.message for error in result.errors] == ["not a regular file"]
    assert found(result) == [("BNL401", "norm.py", 3)]


def test_a_crash_while_drawing_costs_one_entry_point(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Interpreter.call_function

    def fragile_call(self: Interpreter, function: FunctionObject, arguments: Arguments) -> Value:
        if function.name == "unlucky":
            raise ZeroDivisionError("unlucky")
        return original(self, function, arguments)

    monkeypatch.setattr(Interpreter, "call_function", fragile_call)
    unlucky = "def unlucky():\n    net = nn.BatchNorm2d(8)\n    net.eval()\n    return net\n"
    root = project(
        a=f"{MOMENTUM}\n\n{unlucky}",
        b=f"import torch.nn as nn\n\n\n{unlucky}\n\nunlucky()\n",
        c=MOMENTUM,
        evaluate=EVALUATE,
        models=MODELS,
    )
    result = bnlint.lint_paths([root], settings=Settings())
    rest = [("BNL401", "a.py", 3), ("BNL401", "c.py", 3), ("BNL101", "evaluate.py", 8)]
    assert [f for f in found(result) if f[0] != "BNL903"] == rest
    crashed = {(name, line) for code, name, line in found(result) if code == "BNL903"}
    assert crashed == {("a.py", 6), ("b.py", 1), ("b.py", 4)}
    assert all("ZeroDivisionError" in crash.trace for crash in result.crashes)
