"""Changes that no picture would show are answered without linking; all others are linked."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_moved import begin, fresh, lint, settled, unlinked, write

import bnlint.source.engine as engine
from bnlint.cli import main
from bnlint.settings import Settings
from bnlint.source.cache.looked import Looked, looked_at
from bnlint.source.cache.mentions import bound_or_named
from bnlint.source.cache.moved import moves
from bnlint.source.cache.unseen import CodeChangedError, Unseen
from bnlint.source.draw import draw
from bnlint.source.reader import read_text

__all__ = ["settled", "unlinked"]

NET = """import numpy as np
import torch.nn as nn
import torch.nn.functional as F
from layers import block, scale as resize

LIMIT = 10
spare = [1]


def describe(values, limit=3):
    total = 0
    for value in values:
        for part in value:
            total += np.sqrt(part) / limit
    if total > limit:
        note = sum(values)
        print("more than", limit, total, values)
    else:
        note = max(values)
        print("less than", limit, total, values)
    names = [str(value) + str(note) for value in values if value]
    return [name.strip().lower() for name in names if len(name) > 3] or [str(total)]


def build(width=8):
    return Net(width)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), block(width))

    def forward(self, x):
        return self.layers(x)

    def summary(self, depth=2):
        rows = []
        for name, part in self.named_children():
            rows.append((name, depth, str(part)))
        return rows
"""
LAYERS = """import torch.nn as nn


def block(width):
    return nn.Sequential(nn.ReLU(), nn.BatchNorm2d(width, momentum=0.999))


def scale(values):
    return [value * 2 for value in values]
"""
TOOLS = '''import json


def report(rows, path="out.json"):
    """Write rows."""
    with open(path, "w") as file:
        json.dump(rows, file)
    return len(rows)


def plain(number):
    return number
'''
TRAIN = """import json
import sys
import torch
from net import build
from tools import report

model = build()
model.load_state_dict(torch.load("w.pt"))
with torch.no_grad():
    found = model(torch.load("x.pt")).argmax(1)
report(found.tolist())
if len(sys.argv) > 2:
    import tools
    tools.write_all(found)
"""
FILES = {"net.py": NET, "layers.py": LAYERS, "tools.py": TOOLS, "train.py": TRAIN}
Edit = tuple[str, str, str]
UNSEEN: dict[str, Edit] = {
    "a number in a function that nobody calls": ("net.py", "len(name) > 3", "len(name) > 4"),
    "a statement in it": ("net.py", "    names = [", "    print(names)\n    names = ["),
    "a statement less": ("net.py", "        note = sum(values)\n", ""),
    "another way to say it": ("net.py", "for value in values:\n", "for value in list(values):\n"),
    "a method that nobody calls": ("net.py", "rows = []", "rows = [()]"),
    "a function at the end": (
        "net.py",
        NET[-12:],
        f"{NET[-12:]}\n\ndef more(x):\n    return x, 1\n",
    ),
    "a function in between": ("net.py", "def build", "def more(x):\n    return x\n\n\ndef build"),
    "a function that is gone": ("tools.py", "def plain(number):\n    return number\n", ""),
    "a constant": ("net.py", "LIMIT = 10\n", "LIMIT = 10\nLARGE = 20\n"),
    "a constant that is gone": ("net.py", "LIMIT = 10\n", ""),
    "a constant with the name of parameters": ("net.py", "LIMIT = 10\n", "LIMIT = 10\nx = 20\n"),
    "an import": ("net.py", "import numpy as np\n", "import json\nimport numpy as np\n"),
    "names of an import": (
        "net.py",
        "import numpy",
        "from math import pi, tau as turn\nimport numpy",
    ),
    "a function that functions call that nobody runs": (
        "tools.py",
        "def report",
        "def plain_one(x):\n    return [x, more]\n\n\ndef report",
    ),
    "a function of a plain file": (
        "tools.py",
        "number\n",
        "number\n\n\ndef more(x):\n    return g(x)\n",
    ),
}
SEEN: dict[str, Edit] = {
    "a constructor call": ("layers.py", "0.999", "0.1"),
    "a function that is run": ("net.py", "return Net(width)", "return Net(width).eval()"),
    "the head of a function": ("net.py", "limit=3", "limit=4"),
    "a decorator": ("net.py", "def describe", "@staticmethod\ndef describe"),
    "a word that sets modes": ("net.py", "rows = []", "rows = [self.eval()]"),
    "a flag": ("net.py", "rows = []", "rows = [self.training]"),
    "a method hidden": ("net.py", "rows = []", "self.train = False\n        rows = []"),
    "a layer": ("net.py", "note = max(values)", "note = nn.BatchNorm2d(8)"),
    "another name for something": ("net.py", "note = max(values)", "note = block(values)"),
    "an alias": ("net.py", "note = sum(values)", "note = resize(values)"),
    "dropout": ("net.py", "rows = []", "rows = [F.dropout(depth)]"),
    "a function that others ask for": (
        "tools.py",
        "def plain",
        "def write_all(x):\n    return x\n\n\ndef plain",
    ),
    "a function that hides a name": (
        "net.py",
        "def build",
        "def super(x):\n    return x\n\n\ndef build",
    ),
    "a function that runs models": (
        "net.py",
        "def build",
        "def run(net, x):\n    net.eval()\n    return net(x)\n\n\ndef build",
    ),
    "a function that may build": (
        "net.py",
        "def build",
        "def more():\n    return Net(2)\n\n\ndef build",
    ),
    "a function twice": ("tools.py", "def plain", "def report(x):\n    return x\n\n\ndef plain"),
    "an import of the project": ("net.py", "from layers", "import layers\nfrom layers"),
    "a variable that is read now": (
        "net.py",
        "    names = [",
        "    print(spare)\n    names = [",
    ),
    "an import that others may mean": ("net.py", "import numpy", "import copy\nimport numpy"),
    "an import that is gone": ("tools.py", "import json\n", ""),
    "a statement that runs": ("net.py", "LIMIT = 10\n", "LIMIT = 10\nprint(LIMIT)\n"),
    "a constant that is used": ("net.py", "LIMIT = 10\n", "LIMIT = 10\nblock = 20\n"),
    "a method more": (
        "net.py",
        "    def summary",
        "    def more(self):\n        pass\n\n    def summary",
    ),
    "a class": ("net.py", "def build", "class More:\n    pass\n\n\ndef build"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    begin(tmp_path)
    for path in tmp_path.glob("*.py"):
        path.unlink()
    for name, text in FILES.items():
        write(tmp_path / name, text)
    return tmp_path


def apply(project: Path, edit: Edit) -> None:
    name, before, after = edit
    text = (project / name).read_text()
    assert text.count(before) == 1
    write(project / name, text.replace(before, after))


@pytest.mark.parametrize("names", [(), ("net.py",), ("tools.py", "layers.py")])
@pytest.mark.parametrize("change", UNSEEN)
def test_a_change_that_nobody_sees_is_not_linked_again(
    project: Path, change: str, names: tuple[str, ...], unlinked: Callable[[], None]
) -> None:
    lint(project, select=("ALL",))
    apply(project, UNSEEN[change])
    expected = fresh(project, *names, select=("ALL",))
    whole = fresh(project, select=("ALL",))
    assert {f.code for f in whole.findings} >= {"BNL101", "BNL401"}
    unlinked()
    assert lint(project, *names, select=("ALL",)) == expected
    assert lint(project, select=("ALL",)) == whole


@pytest.mark.parametrize("change", SEEN)
def test_a_change_that_may_be_seen_is_linked_again(project: Path, change: str) -> None:
    lint(project, select=("ALL",))
    apply(project, SEEN[change])
    linked = []
    with pytest.MonkeyPatch.context() as patch:
        original = engine.verdicts_of
        patch.setattr(engine, "verdicts_of", lambda *a, **k: linked.append(1) or original(*a, **k))
        found = lint(project, select=("ALL",))
    assert linked
    assert found == fresh(project, select=("ALL",))


def test_one_unseen_change_after_the_other(project: Path, unlinked: Callable[[], None]) -> None:
    lint(project)
    for change in ("a function at the end", "a constant", "a function that is gone"):
        apply(project, UNSEEN[change])
        expected = fresh(project)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "verdicts_of", None)
            assert lint(project) == expected
    for name, text in FILES.items():
        write(project / name, text)
    expected = fresh(project)
    unlinked()
    assert lint(project) == expected


def test_a_verbose_run_says_why_it_links_anew(project: Path) -> None:
    def run() -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project)
            return CliRunner().invoke(main, ["lint", "--verbose", "."]).output

    assert "linked anew" not in run()
    apply(project, UNSEEN["a statement in it"])
    assert "linked anew" not in run()
    for change, words in {
        "a function that is run": "net.py: build() was run or read",
        "a flag": "net.py: summary() mentions what rules look for",
        "another name for something": "net.py: describe() refers to other things than before",
        "an alias": "net.py: describe() has new names in it",
        "an import of the project": "net.py: statements at its top have come or gone",
    }.items():
        apply(project, SEEN[change])
        assert words in run()
    write(project / "another.py", "import torch\n")
    assert "files have come or gone" in run()


def looked(project: Path) -> tuple[Looked, Any]:
    settings = Settings(base=project, root=project, cache=False, jobs=1)
    linked = engine.open_project([project], settings)
    pictures = draw(linked)
    found = looked_at(linked)
    assert found is not None
    return found, pictures


def test_what_is_explained_by_the_settings_is_always_looked_at(project: Path) -> None:
    settings = Settings(base=project, root=project, cache=False, training_functions=("report",))
    linked = engine.open_project([project], settings)
    draw(linked)
    assert looked_at(linked) is None


def test_nothing_may_change_where_steps_were_short(project: Path) -> None:
    known, _ = looked(project)
    path = (project / "net.py").as_posix()
    old = read_text(path, NET)
    new = read_text(path, NET.replace("len(name) > 3", "len(name) > 33 + 1"))
    assert isinstance(moves(old, new, known).unseen, Unseen)
    short = Looked(*(getattr(known, f) for f in known.__struct_fields__[:-1]), room=1)
    with pytest.raises(CodeChangedError):
        moves(old, new, short)


def test_a_module_of_the_project_may_have_the_name_of_one_of_python(project: Path) -> None:
    write(project / "math.py", "tau = 6\n")
    lint(project)
    apply(project, UNSEEN["names of an import"])
    linked = []
    with pytest.MonkeyPatch.context() as patch:
        original = engine.verdicts_of
        patch.setattr(engine, "verdicts_of", lambda *a, **k: linked.append(1) or original(*a, **k))
        lint(project)
    assert linked


def test_names_that_others_go_through_may_not_come_or_go(project: Path) -> None:
    write(project / "train.py", f"from net import *\n{TRAIN}")
    known, _ = looked(project)
    path = (project / "net.py").as_posix()
    old, new = read_text(path, NET), read_text(path, NET.replace("LIMIT = 10\n", ""))
    with pytest.raises(CodeChangedError):
        moves(old, new, known)


def statements() -> Iterator[str]:
    yield from (
        "note = 1",
        "print('here')",
        "self.note = 2",
        "import math",
        "model.eval()",
        "if training: pass",
        "norm = nn.BatchNorm2d(8, momentum=0.9999)",
        "return None",
        "x = block(3)",
        "report(1)",
        "self.train(False)",
        "y = [build() for _ in range(3)]",
    )


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def f(a, b=c): return a + d", {"f", "c", "d"}),
        ("def f(a=a): pass", {"f", "a"}),
        ("def f(a):\n    def g(b: h): return a, b, e\n    return g", {"f", "g", "h", "e"}),
        ("class A(B):\n    c = d\n    def f(self): return self.x, y", set("ABcdfy")),
        ("f = lambda a, b=c: a + b + d", {"f", "c", "d"}),
        (
            "globals()['a']; import b.c, d as e; global g",
            {"globals", "a", "b", "b.c", "d", "e", "g"},
        ),
    ],
)
def test_names_are_those_that_code_may_ask_for(code: str, names: set[str]) -> None:
    facts = read_text("/x.py", code).facts
    assert facts is not None
    assert bound_or_named(facts.body) == names


@pytest.mark.parametrize("seed", range(6))
def test_accepted_changes_leave_every_picture(project: Path, seed: int) -> None:
    """Random statements in random places: what was looked at stays what it was, too."""
    chance = random.Random(seed)
    accepted = 0
    known, before = looked(project)
    for _ in range(12):
        path = project / chance.choice(["net.py", "layers.py", "tools.py"])
        text = path.read_text()
        lines = [m.start() for m in re.finditer(r"^    +(?=\w+.*\n)", text, re.MULTILINE)]
        at = chance.choice(lines)
        indent = re.match(" +", text[at:])
        assert indent is not None
        new = f"{text[:at]}{indent[0]}{chance.choice([*statements()])}\n{text[at:]}"
        try:
            compile(new, path.name, "exec")
        except SyntaxError:
            continue
        old, read = read_text(path.as_posix(), text), read_text(path.as_posix(), new)
        path.write_text(new)
        fresh_looked, after = looked(project)
        try:
            moved = moves(old, read, known)
        except CodeChangedError:
            pass
        else:
            accepted += 1
            assert [g.title for g in before.graphs] == [g.title for g in after.graphs]
            assert [len(g.nodes) for g in before.graphs] == [len(g.nodes) for g in after.graphs]
            assert [t.entry for t in before.traces] == [t.entry for t in after.traces]
            assert [len([*t.events()]) for t in before.traces] == [
                len([*t.events()]) for t in after.traces
            ]
            assert moved.unseen is not None
            now = moved.unseen.looked_at_now()
            for name in ("names", "parts", "called", "senses", "outside", "switching", "strained"):
                assert getattr(now, name) == getattr(fresh_looked, name)
        known, before = fresh_looked, after
    assert accepted
