"""Where `model.eval()` is written, and where nothing is."""

from __future__ import annotations

import textwrap

import pytest

import bnlint

HEAD = """\
import torch
import torch.nn.functional as F
from torch import nn


def net():
    return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))


model, models = net(), [net(), net()]
model.load_state_dict(torch.load("net.pt"))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train, valid = torch.load("train.pt"), torch.load("valid.pt")
"""


def fixed(code: str) -> str:
    """The code after the fixes of BNL101, one at a time, until there are none."""
    text = HEAD + code
    for _ in range(5):
        found = [f for f in bnlint.lint_source(text, "x.py").findings if f.code == "BNL101"]
        edits = next((f.fix.edits for f in found if f.fix is not None), ())
        if not edits:
            break
        (edit,) = edits
        lines = text.splitlines(keepends=True)
        assert (edit.line, edit.column) == (edit.end_line, edit.end_column)
        line = lines[edit.line - 1]
        lines[edit.line - 1] = line[: edit.column - 1] + edit.text + line[edit.column - 1 :]
        text = "".join(lines)
    return text.removeprefix(HEAD)


EPOCH = """\
for epoch in range(9):
{start}    for x, y in train:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
{middle}    with torch.no_grad():
        for x, y in valid:
            print(model(x).argmax(1))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "with torch.no_grad():\n    for x in valid:\n        print(model(x))\n",
            "model.eval()\nwith torch.no_grad():\n    for x in valid:\n        print(model(x))\n",
        ),
        (
            "for x in valid:\n    if x is not None:\n        with torch.no_grad():\n"
            "            print(model(x))\n",
            "model.eval()\nfor x in valid:\n    if x is not None:\n        with torch.no_grad():\n"
            "            print(model(x))\n",
        ),
        (
            "with torch.no_grad():\n    scores = [model(x) for x in valid]\nprint(scores)\n",
            "model.eval()\nwith torch.no_grad():\n    scores = [model(x) for x in valid]\n"
            "print(scores)\n",
        ),
        (
            "with torch.no_grad():\n    for one in models:\n        print(one(valid))\n",
            "with torch.no_grad():\n    for one in models:\n        one.eval()\n"
            "        print(one(valid))\n",
        ),
        (
            "with torch.no_grad():\n    model.train()\n    print(model(valid))\n",
            "with torch.no_grad():\n    model.train()\n    model.eval()\n    print(model(valid))\n",
        ),
        (
            "with torch.no_grad(), open('y') as file:\n    y = model(valid)\n    file.write(y)\n",
            "model.eval()\nwith torch.no_grad(), open('y') as file:\n    y = model(valid)\n"
            "    file.write(y)\n",
        ),
        (
            EPOCH.format(start="    model.train()\n", middle=""),
            EPOCH.format(start="    model.train()\n", middle="    model.eval()\n"),
        ),
        # Nothing: the next epoch would train in evaluation mode.
        (EPOCH.format(start="", middle=""), None),
        # Nothing: the model has no name there.
        ("with torch.no_grad():\n    print(models[0](valid))\n", None),
        ("with torch.no_grad():\n    print([one(valid) for one in models])\n", None),
        ("with torch.no_grad():\n    print((lambda m: m(valid))(model))\n", None),
    ],
)
def test_evaluation_mode_is_written_where_it_belongs(before: str, after: str | None) -> None:
    assert fixed(before) == (before if after is None else after)


def test_a_function_is_fixed_inside_although_its_decorator_is_the_context() -> None:
    code = textwrap.dedent("""\
        @torch.no_grad()
        def predict(network, batches):
            found = []
            for x in batches:
                found.append(network(x))
            return found


        print(predict(model, valid))
        """)
    assert fixed(code) == code.replace("    for x", "    network.eval()\n    for x")


def test_a_method_of_a_helper_is_fixed_by_its_own_name() -> None:
    code = textwrap.dedent("""\
        class Predictor:
            def __init__(self, network):
                self.network = network

            def __call__(self, x):
                with torch.inference_mode():
                    self.scores = self.network(x)
                return self.scores


        print(Predictor(model)(valid))
        """)
    expected = "        self.network.eval()\n        with torch.inf"
    assert fixed(code) == code.replace("        with torch.inf", expected)


def test_a_part_of_a_model_is_not_set_in_the_models_own_method() -> None:
    code = textwrap.dedent("""\
        class Whole(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = net()

            def encode(self, x):
                return self.encoder(x)


        whole = Whole()
        whole.load_state_dict(torch.load("whole.pt"))
        with torch.no_grad():
            print(whole.encode(valid))
        """)
    assert fixed(code) == code
