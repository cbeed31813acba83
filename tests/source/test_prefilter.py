"""Which files are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bnlint import lint_paths
from bnlint.settings import Settings
from bnlint.source import prefilter
from bnlint.source.prefilter import digest, relevant


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "norm = partial(BatchNorm2d)",
        "model.eval()",
        "class Net(nn.Module): pass",
        "import timm",
    ],
)
def test_what_has_to_do_with_torch_matters(text: str) -> None:
    assert digest(text.encode()).broad


@pytest.mark.parametrize("text", ["import os", "x = evaluate(y)", "import keras"])
def test_what_has_not_does_not(text: str) -> None:
    assert not digest(text.encode()).broad


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from .a.b import c as d", {"a", "b", "c", "as", "d"}),
        ("from a import (\n    b,\n    c,\n)\nx = 1", {"a", "b", "c"}),
        ("    import a.b, c", {"a", "b", "c"}),
        ('  "from a import b"', {"a", "b"}),
        ("x = 'no import here'", set()),
    ],
)
def test_imported_names(text: str, names: set[str]) -> None:
    assert digest(text.encode()).imported == names


def write(root: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    return {name: f"{root}/{name}.py" for name in files}


def test_a_script_that_imports_a_relevant_file_is_read(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        engine="import torch\n",
        main="from engine import run\nrun()\n",
        library="from engine import run\ndef f(): pass\n",
    )
    chosen = relevant(list(paths.values()), paths.values(), ())
    assert chosen == {paths["engine"], paths["main"]}


def test_only_importers_of_given_files_are_read_beside_them(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        models="import torch\n",
        middle="import models\n",
        test="import torch, middle\n",
        other="import torch\n",
    )
    chosen = relevant(list(paths.values()), [paths["models"]], [paths["models"]])
    assert chosen == {paths["models"], paths["test"]}


def test_large_projects_are_filtered_harder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(prefilter, "BROAD_UP_TO", 1)
    paths = write(tmp_path, a="import torch\n", b="import torch\nmodel.eval()\n")
    assert relevant(list(paths.values()), paths.values(), ()) == {paths["b"]}


def test_a_named_file_is_always_read(tmp_path: Path) -> None:
    paths = write(tmp_path, a="x = 1\n")
    assert relevant(list(paths.values()), paths.values(), [paths["a"]]) == {paths["a"]}


LIBRARY = {
    "blocks": "from torch import nn\n\nclass Conv(nn.Sequential):\n"
    "    def __init__(self, a, b, last):\n"
    "        super().__init__(nn.Conv2d(a, b, 3, bias=True), last)\n",
    "sizes": "WIDTH = 8\n\ndef double(n):\n    return 2 * n\n",
    "unused": "from torch import nn\n\nclass Head(nn.Module):\n    pass\n",
    "models": "from torch import nn\nfrom blocks import Conv\nfrom sizes import WIDTH, double\n\n"
    "def build():\n"
    "    return nn.Sequential(Conv(3, double(WIDTH), nn.BatchNorm2d(16)), nn.Conv2d(17, 8, 3))\n",
    "main": "import torch\nfrom models import build\n\nmodel = build()\n"
    "model.load_state_dict(torch.load('a.pt'))\n"
    "with torch.no_grad():\n    print(model(torch.load('b.pt')).argmax(1))\n",
}


def test_what_is_left_out_costs_no_finding(tmp_path: Path, monkeypatch) -> None:
    """The small form of benchmarks/prefilter.py, with the filter for large projects."""
    monkeypatch.setattr(prefilter, "BROAD_UP_TO", 0)
    paths = write(tmp_path, **LIBRARY)
    chosen = relevant(list(paths.values()), paths.values(), ())
    assert chosen == {paths["models"], paths["main"]}
    settings = Settings(select=("ALL",), root=tmp_path)
    quick = lint_paths(tmp_path, settings=settings)
    whole = lint_paths(tmp_path, settings=replace(settings, prefilter=False))
    assert quick.findings == whole.findings
    assert {"BNL101", "BNL205"} <= {finding.code for finding in whole.findings}
