"""Small programs -> what the rules say of batch sizes and of a mode that is not called."""

from __future__ import annotations

import pytest
from drawn import HEADER, codes_of

import bnlint
from bnlint.settings import Settings

NET = """\
import argparse
from torch.utils.data import DataLoader


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x)).mean((2, 3))


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 8)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.bn(self.fc(x))


"""
RUN = """\
data = torch.load("a.pt")
model = NET()
model.train()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loader = LOADER
for x, y in loader:
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
PARSED = """\
parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=SIZE)
args = parser.parse_args()
"""


def found(loader: str, net: str = "Net", before: str = "") -> list[str]:
    text = NET + before + RUN.replace("LOADER", loader).replace("NET", net)
    return [code for code, _ in codes_of(text)]


@pytest.mark.parametrize(
    ("loader", "before"),
    [
        ("DataLoader(data, batch_size=2)", ""),
        ("DataLoader(data, 2)", ""),
        ("DataLoader(dataset=data, batch_size=2, shuffle=True)", ""),
        ("torch.utils.data.DataLoader(data, batch_size=2)", ""),
        ("DataLoader(data, **options)", "options = {'batch_size': 2}\n"),
        ("DataLoader(data, **options)", "options = dict(batch_size=2, shuffle=True)\n"),
        ("DataLoader(data, batch_size=SIZE)", "SIZE = 4 // 2\n"),
        ("DataLoader(data, batch_size=args.batch_size)", PARSED.replace("SIZE", "2")),
        ("make(data)", "def make(data, size=2):\n    return DataLoader(data, batch_size=size)\n"),
    ],
)
def test_a_small_batch_is_found(loader: str, before: str) -> None:
    assert found(loader, before=before) == ["BNL301"]


@pytest.mark.parametrize(
    ("loader", "before"),
    [
        ("DataLoader(data, batch_size=64)", ""),
        ("DataLoader(data, batch_size=SIZE)", "import sys\nSIZE = int(sys.argv[1])\n"),
        ("DataLoader(data, **options)", "options = torch.load('options.pt')\n"),
        ("DataLoader(data, batch_size=args.batch_size)", PARSED.replace("SIZE", "64")),
        ("DataLoader(data, batch_sampler=torch.load('s.pt'))", ""),
        ("data", ""),
    ],
)
@pytest.mark.parametrize("net", ["Net", "Rows"])
def test_other_batches_are_silent(loader: str, before: str, net: str) -> None:
    assert found(loader, net, before) == []


@pytest.mark.parametrize(
    "loader", ["DataLoader(data, batch_size=1)", "DataLoader(data)", "DataLoader(data, 1)"]
)
def test_training_on_one_row_is_an_error(loader: str) -> None:
    assert "BNL303" in found(loader, "Rows")


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("model.eval", ["BNL102"]),
        ("model.train", ["BNL102"]),
        ("model.eval()", []),
        ("mode = model.eval", []),
        ("run(model.eval)", []),
        ("text = 'model.eval'", []),
    ],
)
def test_a_mode_that_is_not_called(statement: str, wanted: list[str]) -> None:
    text = f"{NET}model = Net()\ndef run(f):\n    f()\n{statement}\n"
    assert [code for code, _ in codes_of(text) if code == "BNL102"] == wanted


def test_eval_of_what_is_no_module_is_silent() -> None:
    text = "import pandas\nframe = pandas.DataFrame()\nargs = [1]\nframe.eval('a')\n"
    assert codes_of(text) == []
    own = "class Game:\n    def eval(self):\n        return 1\ngame = Game()\ngame.eval\n"
    assert codes_of(own) == []


def test_a_loader_over_several_lines_is_accused_where_it_begins() -> None:
    text = HEADER + (
        "from torch.utils.data import DataLoader\n"
        "net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))\n"
        "optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "train = DataLoader(torch.load('a.pt'),\n    batch_size=1,\n    shuffle=True)\n"
        "test = DataLoader(torch.load('b.pt'), batch_size=1)\n"
        "for x, y in train:\n"
        "    optimizer.zero_grad()\n    F.mse_loss(net(x), y).backward()\n    optimizer.step()\n"
    )
    (finding,) = bnlint.lint_source(text, "main.py").findings
    assert finding.code == "BNL301" and finding.place is not None
    begins = text[: text.index("DataLoader(torch.load('a.pt')")].count("\n") + 1
    assert (finding.place.line, finding.place.end_line) == (begins, begins)


def test_each_of_several_loaders_is_judged_by_its_own_batches() -> None:
    before = (
        "def loader_for(name):\n"
        "    if name == 'large':\n        return DataLoader(torch.load('a.pt'), batch_size=64)\n"
        "    if name == 'small':\n        return DataLoader(torch.load('b.pt'), batch_size=2)\n"
        "    return DataLoader(torch.load('c.pt'), batch_size=1)\n\n\n"
    )
    text = (
        HEADER + NET + before + RUN.replace("LOADER", "loader_for(input())").replace("NET", "Net")
    )
    lines = {
        name: number
        for number, line in enumerate(text.splitlines(), 1)
        for name in "abc"
        if f"{name}.pt" in line and "DataLoader" in line
    }
    accused = bnlint.lint_source(text, settings=Settings(select=("BNL301",))).findings
    assert [f.place.line for f in accused if f.place] == [lines["b"], lines["c"]]
