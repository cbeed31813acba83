"""Classes of a library, which nobody in the project builds -> what is said of their methods."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_traces import accused, marked

import bnlint
import bnlint.source.objects as objects
from bnlint.settings import Settings
from bnlint.source.engine import open_project
from bnlint.source.evaluate.core import OutOfBudget
from bnlint.source.objects import definition_of
from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import ClassObject

BUILT = """\
class Recogniser:
    def __init__(self, path=None):
        self.net = Net()
        self.net.load_state_dict(torch.load(path))

"""
PREDICT = """\
    def predict(self, x):
        with torch.no_grad():
            return self.net(x).argmax(1)  # !

"""
SILENT = PREDICT.replace("  # !", "")
WRONG = {
    "built by its constructor": BUILT + PREDICT,
    "called": BUILT + PREDICT.replace("predict", "__call__"),
    "built by its class": """\
class Recogniser:
    def __init__(self, net):
        self.net = net

    @classmethod
    def from_file(cls, path):
        net = Net()
        net.load_state_dict(torch.load(path))
        return cls(net)

"""
    + PREDICT,
    "built by another method": """\
class Recogniser:
    def __init__(self):
        self.net = None

    def load(self, path):
        self.net = Net()
        self.net.load_state_dict(torch.load(path))

"""
    + PREDICT,
    "a method of its base": BUILT.replace("Recogniser", "Base")
    + PREDICT
    + "class Named(Base):\n    def name(self):\n        return 'a'\n\n",
    "built by a function": "def build(path):\n    net = Net()\n"
    "    net.load_state_dict(torch.load(path))\n    return net\n\n\n"
    "class Recogniser:\n    def __init__(self, path):\n        self.net = build(path)\n\n"
    + PREDICT,
    "training mode is set by another one": BUILT
    + "    def prepare(self):\n        self.net.train()\n\n"
    + PREDICT,
    "built in unit tests only": BUILT
    + PREDICT
    + "def test_predict():\n    Recogniser().predict(torch.load('x.pt'))\n",
}
RIGHT = {
    "evaluated by its constructor": BUILT + "        self.net.eval()\n\n" + SILENT,
    "evaluated by another method": BUILT
    + "    def prepare(self):\n        self.net.eval()\n\n"
    + SILENT,
    "evaluated by a method of its base": "class Base:\n    def prepare(self):\n"
    "        self.net.eval()\n\n\n" + BUILT.replace("Recogniser", "Recogniser(Base)") + SILENT,
    "the mode is a parameter": BUILT
    + "    def set_mode(self, mode):\n        self.net.train(mode)\n\n"
    + SILENT,
    "a call that cannot be seen": BUILT
    + "    def prepare(self, tool):\n        tool.use(self.net)\n\n"
    + SILENT,
    "the base cannot be seen": "from somewhere import Base\n\n\n"
    + BUILT.replace("Recogniser", "Recogniser(Base)")
    + SILENT,
    "a module, whose mode its caller sets": BUILT.replace(
        "Recogniser", "Recogniser(nn.Module)"
    ).replace("=None):\n", "=None):\n        super().__init__()\n")
    + SILENT,
    "the model is the caller's": "class Recogniser:\n    def __init__(self, net):\n"
    "        self.net = net\n\n" + SILENT,
    "others switch it": BUILT
    + SILENT
    + "def prepare(recogniser):\n    recogniser.net.eval()\n    return recogniser\n",
    "somebody builds it": BUILT + SILENT + "recogniser = Recogniser()\n"
    "recogniser.net.eval()\nprint(recogniser.predict(torch.load('x.pt')))\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_inference_in_training_mode(text: str) -> None:
    assert accused(text, "BNL101") == marked(text)


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_or_not_provable_is_silent(text: str) -> None:
    assert accused(text, "BNL101") == []


TRAINER = """\
class Classifier:
    def __init__(self, epochs=10):
        self.net = None
        self.epochs = epochs

    def fit(self, loader, valid):
        self.net = Net()
        optimizer = torch.optim.SGD(self.net.parameters(), 0.1)
        for epoch in range(self.epochs):
            {first}
            for i, (x, y) in enumerate(loader):
                {each}
                loss = F.cross_entropy(self.net(x), y)  # !
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if i % 10 == 0:
                    self.validate(valid)

    def validate(self, loader):
        self.net.eval()
        with torch.no_grad():
            return sum((self.net(x).argmax(1) == y).sum() for x, y in loader)

    def predict(self, x):
        with torch.no_grad():
            return self.net(x).argmax(1)
"""


def test_a_validation_within_the_epoch() -> None:
    text = TRAINER.format(first="self.net.train()", each="pass")
    assert accused(text, "BNL103") == marked(text)
    right = TRAINER.format(first="pass", each="self.net.train()")
    assert accused(right, "BNL103") == []


OWN = """\
class Own(Net):
    def fit(self, loader, valid, epochs=10):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        {first}
        for epoch in range(epochs):
            {each}
            for x, y in loader:
                loss = F.cross_entropy(self(x), y)  # !
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(self.score(valid))

    def score(self, loader):
        {mode}
        with torch.no_grad():
            return sum((self(x).argmax(1) == y).sum() for x, y in loader)
"""


def test_a_module_that_trains_itself() -> None:
    """Its mode is the caller's until it is set; `score` alone runs in whatever mode that is."""
    text = OWN.format(first="self.train()", each="pass", mode="self.eval()")
    assert accused(text, "BNL103") == marked(text)
    assert accused(text, "BNL101") == []
    for first, each in (("pass", "pass"), ("pass", "self.train()")):
        right = OWN.format(first=first, each=each, mode="self.eval()")
        assert accused(right, "BNL103") == []
    never = OWN.format(first="self.train()", each="pass", mode="pass")
    assert accused(never, "BNL103") == []


TYPED = """def train(model: {type}, loader, optimizer, epochs):
    {first}
    for epoch in range(epochs):
        {each}
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)  # !
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            print(model(x).argmax(1))
"""


def test_a_model_by_the_type_of_a_parameter() -> None:
    text = TYPED.format(type="Net", first="model.train()", each="pass")
    assert accused(text, "BNL103") == marked(text)
    for changed in (
        TYPED.format(type="Net", first="pass", each="pass"),
        TYPED.format(type="Net", first="pass", each="model.train()"),
        TYPED.format(type="nn.Module", first="model.train()", each="pass"),
        TYPED.format(type="int", first="model.train()", each="pass"),
    ):
        assert accused(changed, "BNL103") == []


def test_a_caller_may_have_set_the_mode() -> None:
    text = """\
def predict(model: Net, x):
    {mode}
    with torch.no_grad():
        return model(x).argmax(1)
"""
    assert accused(text.format(mode="pass"), "BNL101") == []
    assert accused(text.format(mode="model.eval()"), "BNL101") == []
    assert len(accused(text.format(mode="model.train()"), "BNL101")) == 1


def test_the_order_of_the_users_calls_is_no_proof() -> None:
    """Nobody says that `fit` is called again behind `validate`, nor `predict` behind `fit`."""
    text = TRAINER.replace(
        "                if i % 10 == 0:\n                    self.validate(valid)\n", ""
    )
    text = text.format(first="pass", each="pass")
    assert accused(text, "BNL103") == []
    assert accused(text, "BNL101") == []


def test_a_class_of_a_package_in_one_run_with_its_model(tmp_path: Path) -> None:
    package = tmp_path / "lib"
    package.mkdir()
    (package / "__init__.py").write_text("from lib.api import Recogniser\n")
    (package / "nets.py").write_text(
        "from torch import nn\n\n\ndef make():\n"
        "    return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))\n"
    )
    (package / "api.py").write_text(
        "import torch\nfrom lib.nets import make\n\n\n" + BUILT.replace("Net()", "make()") + PREDICT
    )
    found = bnlint.lint_paths([tmp_path], settings=Settings(select=("BNL101",))).findings
    assert [Path(f.place.path).name for f in found if f.place is not None] == ["api.py"]
    assert "predict" in found[0].message


def test_what_was_built_is_known_after_a_model_that_takes_too_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text("import torch.nn as nn\n\n\nclass Net(nn.Module):\n    pass\n")
    project = open_project([tmp_path], Settings(base=tmp_path, root=tmp_path, prefilter=False))
    artist = TraceArtist(project)
    artist.load_all()
    (net,) = (d for d in artist.machine.definitions if isinstance(d, ClassObject))
    artist.machine.built[definition_of(net)] = None

    def too_large(*_: object) -> None:
        raise OutOfBudget

    monkeypatch.setattr(objects, "_make", too_large)
    with pytest.raises(OutOfBudget):
        objects._given(artist.machine, net)
    assert definition_of(net) in artist.machine.built
