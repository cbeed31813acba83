"""After an edit of code that was drawn, only what depended on it is drawn again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_moved import fresh, lint, settled, write

import bnlint.source.draw as drawing
import bnlint.source.graph_artist as graph_artist
from bnlint.cli import main
from bnlint.rules.base import Pictures
from bnlint.settings import Settings
from bnlint.source.cache.unit_wire import packed_unit, unpacked_unit
from bnlint.source.draw import draw
from bnlint.source.engine import open_project
from bnlint.source.isolation import Isolation
from bnlint.source.project import Project
from bnlint.source.units import Ledger, Stage

__all__ = ["settled"]

BLOCKS = '''"""Blocks of networks."""

import torch.nn as nn

WIDTHS = (8, 16)


class Block(nn.Module):
    """A convolution and its norm."""

    def __init__(self, width, momentum=0.1):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width, momentum=momentum)

    def forward(self, x):
        return self.norm(self.conv(x))


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return self.norm(self.drop(x))


def widths():
    return WIDTHS
'''
NETS = """import torch.nn as nn
from blocks import Block, Head, widths


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.block = Block(width, momentum=0.999)
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        return self.last(self.block(x).mean((2, 3)))


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Head(widths()[1])

    def forward(self, x):
        return self.head(x)


def wide():
    return Wide()
"""
TRAIN = """import torch
from nets import Net


def evaluate(model, loader):
    with torch.no_grad():
        for x, y in loader:
            print(model(x).argmax(1) == y)


def main():
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in torch.load("data"):
        loss = net(x).sum()
        loss.backward()
        optimizer.step()
    evaluate(net, torch.load("test"))


if __name__ == "__main__":
    main()
"""
OTHER = """import torch.nn as nn


class Spare(nn.Module):
    norm = None


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.9999))

    def forward(self, x):
        return self.layers(x)
"""
FILES = {"blocks.py": BLOCKS, "nets.py": NETS, "train.py": TRAIN, "other.py": OTHER}

Edit = tuple[str, str, str]
REDRAWN: dict[str, Edit] = {
    "a forward": ("blocks.py", "self.norm(self.conv(x))", "self.conv(self.norm(x))"),
    "a constructor": ("blocks.py", "momentum=momentum)", "momentum=0.9999)"),
    "a function that is asked": ("blocks.py", "    return WIDTHS", "    return 4, 32"),
    "lines above": ("blocks.py", "self.norm(self.conv(x))", "(\n    self.norm(self.conv(x))\n)"),
    "a method more": (
        "blocks.py",
        "class Head",
        "    def size(self):\n        return 1\n\n\nclass Head",
    ),
    "a class more": ("nets.py", "def wide", "class More(nn.Linear):\n    number = 1\n\n\ndef wide"),
    "a function more": ("nets.py", "def wide", "def more(x):\n    return x\n\n\ndef wide"),
    "a function less": ("nets.py", "\n\ndef wide():\n    return Wide()\n", ""),
    "a class less": ("other.py", "class Spare(nn.Module):\n    norm = None\n\n\n", ""),
    "a constant": ("blocks.py", "(8, 16)", "(8, 64)"),
    "an import": (
        "blocks.py",
        "import torch.nn as nn",
        "from json import loads\nimport torch.nn as nn",
    ),
    "a mode": ("train.py", "    with torch", "    model.eval()\n    with torch"),
    "what a script does": (
        "train.py",
        "        loss.backward()\n",
        "        loss.sum().backward()\n",
    ),
    "a signature": ("blocks.py", "momentum=0.1", "momentum=0.3"),
    "a layer": ("other.py", "nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3), nn.ReLU()"),
}
AGAIN = {
    "a forward": {"blocks.py", "train.py"},
    "a constructor": {"blocks.py", "train.py"},
    "a function that is asked": {"blocks.py"},
    "a method more": {"blocks.py", "train.py"},
    "a class more": set(),
    "a mode": {"train.py"},
    "what a script does": {"train.py"},
    "a layer": {"other.py"},
}
"""The files of which something is drawn again: in nets.py alone there is no BatchNorm to draw."""
LINKED: dict[str, Edit] = {
    "a base": ("blocks.py", "class Head(nn.Module)", "class Head(Block)"),
    "an import of the project": ("nets.py", "import Block, Head", "import Block as Head, Block"),
    "a decorator": ("nets.py", "def wide", "@print\ndef wide"),
    "a name that others ask for": (
        "blocks.py",
        "class Head(",
        "class Other(nn.Module):\n    pass\n\n\nHead = Other\n\n\nclass Rest(",
    ),
    "a statement": ("blocks.py", "WIDTHS =", "print('here')\nWIDTHS ="),
}


class Drawn:
    """Which drawings a run has made, and what came of them all."""

    def __init__(self) -> None:
        self.pictures: Pictures | None = None
        self.ledger: Ledger | None = None
        self.files: tuple[str, ...] = ()

    @property
    def again(self) -> set[str]:
        """What was drawn though an earlier run had drawn it, by file."""
        assert self.ledger is not None and self.ledger.earlier is not None
        earlier = self.ledger.earlier
        units = (unit for unit in self.ledger.units if earlier.kept(*unit.key) is not unit)
        return {Path(unit.spot[0]).name for unit in units}

    def canonical(self) -> tuple[Counter[str], ...]:
        """The pictures as they are compared: without the numbers that differ from run to run."""
        assert self.pictures is not None
        pictures = self.pictures
        graphs = (
            (
                g.title,
                g.binding,
                [(n.kind, n.name, n.path, n.place, sorted(n.params), n.inputs) for n in g.nodes],
            )
            for g in pictures.graphs
        )
        traces = (
            (t.entry, [(type(e).__name__, getattr(e, "place", None)) for e in t.events()])
            for t in pictures.traces
        )
        return tuple(
            Counter(map(repr, part))
            for part in (graphs, traces, pictures.mode_methods, pictures.mode_calls)
        )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn()

    def spy(
        project: Project, isolated: Isolation | None = None, ledger: Ledger | None = None
    ) -> Pictures:
        found.ledger, found.files = ledger, project.given
        found.pictures = draw(project, isolated, ledger)
        return found.pictures

    monkeypatch.setattr(drawing, "draw", spy)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in FILES.items():
        write(tmp_path / name, text)
    return tmp_path


def change(root: Path, edit: Edit) -> None:
    name, before, after = edit
    text = (root / name).read_text()
    assert text.count(before) >= 1
    write(root / name, text.replace(before, after, 1))


def agree(root: Path, drawn: Drawn, *names: str) -> None:
    """A run with what was kept, and one without, find the same and see the same."""
    drawn.pictures = None
    warm = lint(root, *names, select=("ALL",)).findings
    seen = None if drawn.pictures is None else drawn.canonical()
    assert warm == fresh(root, *names, select=("ALL",)).findings
    assert seen is None or seen == drawn.canonical()


@pytest.mark.parametrize(("name", "again"), AGAIN.items(), ids=AGAIN)
def test_only_what_depends_on_an_edit_is_drawn_again(
    project: Path, drawn: Drawn, name: str, again: set[str]
) -> None:
    lint(project, select=("ALL",))
    change(project, REDRAWN[name])
    lint(project, select=("ALL",))
    assert drawn.again == again


@pytest.mark.parametrize("edit", REDRAWN.values(), ids=REDRAWN)
def test_what_is_kept_and_drawn_again_is_what_would_be_drawn(
    project: Path, drawn: Drawn, edit: Edit
) -> None:
    lint(project, select=("ALL",))
    change(project, edit)
    agree(project, drawn)


@pytest.mark.parametrize("edit", LINKED.values(), ids=LINKED)
def test_all_is_drawn_where_nobody_can_tell_what_depends_on_an_edit(
    project: Path, drawn: Drawn, edit: Edit
) -> None:
    lint(project, select=("ALL",))
    change(project, edit)
    lint(project, select=("ALL",))
    assert drawn.ledger is not None and drawn.ledger.earlier is None
    agree(project, drawn)


def test_an_edit_after_the_other_is_followed(project: Path, drawn: Drawn) -> None:
    lint(project, select=("ALL",))
    for name in ("a layer", "a mode", "a constant", "a method more", "a forward", "a class more"):
        change(project, REDRAWN[name])
        agree(project, drawn)


def test_a_finding_moves_with_its_line_and_appears_and_goes_with_its_cause(project: Path) -> None:
    def lines() -> list[tuple[str, str, int]]:
        found = lint(project, select=("BNL401", "BNL101")).findings
        return [(f.code, Path(f.place.path).name, f.place.line) for f in found if f.place]

    before = lines()
    assert ("BNL401", "other.py", 11) in before
    change(project, ("other.py", "        super()", "        note = 1\n        super()"))
    assert ("BNL401", "other.py", 12) in lines()
    change(project, ("other.py", "momentum=0.9999", "momentum=0.1"))
    assert not any(code == "BNL401" and name == "other.py" for code, name, _ in lines())
    assert any(code == "BNL101" for code, _, _ in before)
    change(project, REDRAWN["a mode"])
    assert not any(code == "BNL101" for code, _, _ in lines())


def test_a_file_that_only_imports_ask_for_is_followed(project: Path, drawn: Drawn) -> None:
    write(project / "helper.py", "def factor():  # noqa: BNL401\n    return 0.5\n")
    change(project, ("blocks.py", "import torch.nn as nn", "import torch.nn as nn\nimport helper"))
    change(project, ("blocks.py", "momentum=momentum", "momentum=helper.factor()"))
    lint(project, select=("ALL",))
    change(project, REDRAWN["a layer"])
    agree(project, drawn)
    change(project, ("helper.py", "0.5", "0.999"))
    agree(project, drawn)
    change(project, REDRAWN["a mode"])
    agree(project, drawn)


def test_a_comment_in_a_file_that_was_not_opened_again_holds(project: Path, drawn: Drawn) -> None:
    change(project, ("blocks.py", "momentum=momentum)", "momentum=0.9999)  # noqa: BNL401"))
    lint(project, select=("BNL401",))
    change(project, REDRAWN["a layer"])
    agree(project, drawn)


def test_what_is_kept_may_be_spoilt(project: Path, drawn: Drawn) -> None:
    lint(project)
    for kept in project.rglob("drawn-*"):
        kept.write_bytes(kept.read_bytes()[:-9])
    change(project, REDRAWN["a layer"])
    agree(project, drawn)


def test_given_files_are_answered_from_the_drawings_of_the_whole(
    project: Path, drawn: Drawn
) -> None:
    lint(project)
    change(project, REDRAWN["a forward"])
    warm = lint(project, "blocks.py")
    assert drawn.ledger is not None and drawn.ledger.earlier is not None
    assert warm.findings == fresh(project, "blocks.py").findings
    assert warm.files == fresh(project, "blocks.py").files


def test_the_command_answers_given_files_so_too(
    project: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    run = CliRunner()
    assert run.invoke(main, ["lint", "--exit-zero"]).exit_code == 0
    change(project, REDRAWN["a constructor"])
    warm = run.invoke(main, ["lint", "--output-format", "json", "--exit-zero", "blocks.py"])
    assert drawn.ledger is not None and drawn.ledger.earlier is not None and drawn.again
    cold = run.invoke(
        main, ["lint", "--output-format", "json", "--exit-zero", "--no-cache", "blocks.py"]
    )
    assert warm.output == cold.output


def test_what_does_not_hold_is_not_drawn_for_a_few_files(project: Path, drawn: Drawn) -> None:
    """Nor does it cost the drawings of the whole project, which a later edit may need."""
    lint(project)
    kept = {path: path.read_bytes() for path in project.rglob("drawn-whole-*")}
    change(project, LINKED["a decorator"])
    warm = lint(project, "nets.py")
    assert drawn.ledger is not None and drawn.ledger.earlier is None
    assert [Path(path).name for path in drawn.files] == ["nets.py", "train.py"]
    assert warm.findings == fresh(project, "nets.py").findings
    assert {path: path.read_bytes() for path in project.rglob("drawn-whole-*")} == kept


def test_what_a_kept_drawing_has_defined_need_not_be_there(project: Path, drawn: Drawn) -> None:
    """A function inside another one is defined when that runs, which may be for another file."""
    inner = (
        "def widths():\n    def build(width):\n        return nn.BatchNorm2d(width)\n\n"
        "    build(4)\n    return WIDTHS\n"
    )
    write(project / "blocks.py", BLOCKS.replace("def widths():\n    return WIDTHS\n", inner))
    write(project / "train.py", f"from blocks import widths\n\nwidths()\n{TRAIN}")
    lint(project, select=("ALL",))
    write(project / "blocks.py", (project / "blocks.py").read_text() + "\n\nclass New:\n    pass\n")
    lint(project, select=("ALL",))
    assert drawn.ledger is not None and drawn.ledger.earlier is not None
    agree(project, drawn)


DEEP = """import torch.nn as nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4, momentum=0.999)

    def forward(self, x):
        return x
"""


def test_what_was_too_large_before_may_be_so_again(
    project: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_artist, "GRAPH_BUDGET", 250)
    more = "        x = self.norm(x)\n"
    for length, holds in ((2, False), (90, False), (91, True), (1, False), (2, True)):
        write(project / "deep.py", DEEP.replace("        return", f"{more * length}        return"))
        warm = lint(project, select=("ALL",)).findings
        assert drawn.ledger is not None
        assert (drawn.ledger.earlier is not None) is holds, length
        assert warm == fresh(project, select=("ALL",)).findings


def test_runs_over_some_files_leave_the_drawings_of_the_whole(project: Path) -> None:
    lint(project)
    for names in (
        ("blocks.py",),
        ("nets.py",),
        ("train.py",),
        ("other.py",),
        ("nets.py", "other.py"),
    ):
        lint(project, *names, prefilter=len(names) > 1)
    assert len(list(project.rglob("drawn-whole-*"))) == 1
    assert len(list(project.rglob("drawn-part-*"))) == 3


EDITS: list[Callable[[str, random.Random], str]] = [
    lambda text, chance: _line_more(text, chance, "note = 1"),
    lambda text, chance: _line_more(text, chance, "self.note = nn.BatchNorm2d(4)"),
    lambda text, chance: _line_more(text, chance, "self.eval()"),
    lambda text, chance: _line_more(text, chance, "return None"),
    lambda text, chance: text.replace("0.999", f"0.{chance.randrange(1, 999)}", 1),
    lambda text, chance: text.replace("8", str(chance.randrange(2, 9)), 1),
    lambda text, chance: f"{text}\n\nclass New{chance.randrange(5)}(nn.Module):\n    pass\n",
    lambda text, chance: text.replace("    return", "    return not", 1),
]


def _line_more(text: str, chance: random.Random, line: str) -> str:
    lines = text.split("\n")
    heads = [n for n, found in enumerate(lines) if found.lstrip().startswith("def ")]
    where = chance.choice(heads)
    indent = " " * (len(lines[where]) - len(lines[where].lstrip()) + 4)
    return "\n".join([*lines[: where + 1], f"{indent}{line}", *lines[where + 1 :]])


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_are_followed(project: Path, drawn: Drawn, seed: int) -> None:
    chance = random.Random(seed)
    lint(project, select=("ALL",))
    for _ in range(6):
        path = project / chance.choice(sorted(FILES))
        write(path, chance.choice(EDITS)(path.read_text(), chance))
        agree(project, drawn)


def test_units_come_back_as_they_were(project: Path) -> None:
    opened = open_project([project], Settings(base=project, root=project))
    ledger = Ledger()
    draw(opened, None, ledger)
    assert {unit.stage for unit in ledger.units} >= {Stage.SCRIPT, Stage.CLASS, Stage.FACTORY}
    for unit in ledger.units:
        back = unpacked_unit(packed_unit(unit))
        assert packed_unit(back) == packed_unit(unit)
        assert [g.nodes for g in back.graphs] == [g.nodes for g in unit.graphs]
        assert [t.body for t in back.traces] == [t.body for t in unit.traces]
        assert (back.key, back.texts, back.steps) == (unit.key, unit.texts, unit.steps)
        assert set(back.covered) == {(place, block) for place, block in unit.covered}


def test_a_file_that_cannot_matter_any_more_is_left_alone(project: Path, drawn: Drawn) -> None:
    lint(project, select=("ALL",))
    write(project / "other.py", "def (")
    agree(project, drawn)
