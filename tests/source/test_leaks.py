"""Programs that train and validate -> the forwards that BNL103 accuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_traces import EVALUATED_TEST, NET, TRAIN, accused, marked

import bnlint
from bnlint.settings import Settings

UNSET = TRAIN.replace("    model.train()\n", "").replace("model(x), y)", "model(x), y)  # !")
VALIDATE = EVALUATED_TEST.replace("  # !", "")
START = """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loader = torch.load("a.pt")
"""
STEP = """\
        loss = F.cross_entropy(model(x), y)  # !
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
LOOP = "for epoch in range(9):\n"
EPOCH = "    for x, y in loader:\n" + STEP
SCORES = "    with torch.no_grad():\n        print(model(loader[0]).argmax(1))\n"

WRONG = {
    "functions": f"{UNSET}{VALIDATE}{START}model.train()\n{LOOP}"
    "    train(model, loader, optimizer)\n    test(model, loader)\n",
    "module level": f"{START}{LOOP}{EPOCH}    model.eval()\n{SCORES}",
    "a counter of steps": f"{START}steps, every = 0, 40\n{LOOP}    model.train()\n"
    "    for x, y in loader:\n        steps += 1\n"
    f"{STEP}        if steps % every == 0:\n            model.eval()\n"
    "            with torch.no_grad():\n                print(model(x).argmax(1))\n",
    "forward by name": f"{START}{LOOP}{EPOCH.replace('model(x)', 'model.forward(x)')}"
    f"    model.eval()\n{SCORES}",
    "one of two models": "import sys\n"
    f"model = Net() if len(sys.argv) > 1 else nn.Sequential(nn.Linear(3, 3), nn.Dropout())\n"
    f"optimizer = torch.optim.SGD(model.parameters(), 0.1)\nloader = torch.load('a.pt')\n"
    f"{LOOP}{EPOCH}    model.eval()\n{SCORES}",
    "hidden state that is detached": f"{START}hidden = torch.zeros(3)\n{LOOP}"
    "    for x, y in loader:\n        hidden = model(x, hidden.detach())  # !\n"
    "        F.cross_entropy(hidden, y).backward()\n        optimizer.step()\n"
    f"    model.eval()\n{SCORES}",
    "a module that trains itself": """\
class Own(Net):
    def fit(self, loader):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        model = self.train()
        for epoch in range(9):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)  # !
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(self.predict(loader))

    def predict(self, loader):
        model = self.eval()
        with torch.no_grad():
            return [model(x).argmax(1) for x, _ in loader]


Own().fit(torch.load("a.pt"))
""",
    "evaluation mode again behind a validation": f"{START}{LOOP}{EPOCH}"
    "    if epoch % 5 == 0:\n        model.eval()\n        with torch.no_grad():\n"
    "            print(model(loader[0]).argmax(1))\n        model.eval()\n",
    "a summary of the model": f"from torchsummary import summary\n{START}"
    f"summary(model, (3, 8, 8))\n{LOOP}{EPOCH}    model.eval()\n{SCORES}",
}
RIGHT = {
    "train() in each epoch": f"{TRAIN}{VALIDATE}{START}{LOOP}"
    "    train(model, loader, optimizer)\n    test(model, loader)\n",
    "a choice of frozen statistics": f"import sys\n{START}{LOOP}    if sys.argv[1] == 'tune':\n"
    "        model.train()\n    elif sys.argv[1] == 'freeze':\n        model.eval()\n    else:\n"
    f"        assert False\n{EPOCH}    model.eval()\n{SCORES}",
    "the mode is restored": f"{START}{LOOP}{EPOCH}    was = model.training\n    model.eval()\n"
    f"{SCORES}    model.train(was)\n",
    "the mode is restored where it was training": f"{START}{LOOP}{EPOCH}"
    f"    was = model.training\n    model.eval()\n{SCORES}    if was:\n        model.train()\n",
    "an attack on the input": f"{START}model.eval()\n{LOOP}    for x, y in loader:\n"
    "        F.cross_entropy(model(x.requires_grad_()), y).backward()\n        x = x + x.grad\n",
    "a fixed network in the loss": f"{START}other = Net()\nother.eval()\n{LOOP}"
    "    for x, y in loader:\n        F.mse_loss(other(model(x)), y).backward()\n"
    "        optimizer.step()\n    with torch.no_grad():\n        print(other(x).argmax(1))\n",
    "no layer knows a mode": f"model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))\n"
    f"{START.replace('model = Net()', '')}{LOOP}{EPOCH}    model.eval()\n{SCORES}",
    "evaluation mode behind an evaluation in training mode": f"{START}{LOOP}{EPOCH}"
    "    if epoch > 5:\n        model.train()\n        print(model(x).argmax(1))\n"
    "        model.eval()\n",
    "an average that is evaluated": f"{START}teacher = Net()\nfor p in teacher.parameters():\n"
    f"    p.requires_grad = False\n{LOOP}    model.train()\n    for x, y in loader:\n"
    "        F.mse_loss(model(x), teacher(x)).backward()\n        optimizer.step()\n"
    "    teacher.eval()\n    model.eval()\n"
    f"{SCORES}        print(teacher(loader[0]).argmax(1))\n",
    "the loop breaks": f"{START}{LOOP}{EPOCH}    model.eval()\n{SCORES}    break\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_training_in_evaluation_mode_is_found(text: str) -> None:
    assert accused(text, "BNL103") == marked(text)


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_or_not_provable_is_silent(text: str) -> None:
    assert accused(text, "BNL103") == []


def test_the_fix_goes_before_the_loop_over_batches() -> None:
    text = NET + START + LOOP + EPOCH + "    model.eval()\n" + SCORES
    text = f"import torch\nimport torch.nn.functional as F\nfrom torch import nn\n{text}"
    settings = Settings(select=("BNL103",))
    (finding,) = bnlint.lint_source(text, settings=settings).findings
    assert finding.fix is not None
    (edit,) = finding.fix.edits
    lines = text.splitlines()
    assert lines[edit.line - 1] == "    for x, y in loader:"
    lines.insert(edit.line - 1, "    model.train()")
    assert not bnlint.lint_source("\n".join(lines), settings=settings).findings


def test_a_package_that_imports_its_parts(tmp_path: Path) -> None:
    head = "import torch\nfrom torch import nn\n"
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import models\nfrom .engine import fit\n")
    (package / "models.py").write_text(head + NET)
    engine = UNSET + VALIDATE + "def fit(model, loader, optimizer):\n    while True:\n"
    engine += "        train(model, loader, optimizer)\n        test(model, loader)\n"
    (package / "engine.py").write_text(f"{head}import torch.nn.functional as F\n{engine}")
    script = tmp_path / "main.py"
    script.write_text(
        f"{head}import package\nmodel = package.models.Net()\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "package.fit(model, torch.load('a.pt'), optimizer)\n"
    )
    (finding,) = bnlint.lint_paths([tmp_path], settings=Settings(select=("BNL103",))).findings
    assert finding.place is not None
    assert finding.place.path.endswith("package/engine.py")
    assert "fit > train" in finding.message
