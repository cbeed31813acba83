"""What the source half sees of functions that behave differently in training."""

from __future__ import annotations

import inspect

import pytest
from drawn import pictures_of

import bnlint
from bnlint.functional import SIGNATURES, Follows, ModeCall
from bnlint.settings import Settings


def calls(forward: str, more: str = "", build: str = "self.p = p") -> list[ModeCall]:
    text = (
        "class Net(nn.Module):\n    def __init__(self, p=0.1):\n        super().__init__()\n"
        f"        {build}\n        self.off = 0\n        self.running_mean = None\n"
        f"    def forward(self, x, flag=None):\n        {forward}\n{more}"
    )
    return list(pictures_of(text).mode_calls)


def follows(expression: str) -> list[Follows]:
    return [call.follows for call in calls(f"return {expression}")]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("F.dropout(x)", Follows.ALWAYS),
        ("F.dropout(x, 0.5)", Follows.ALWAYS),
        ("F.dropout(x, p=self.p)", Follows.ALWAYS),
        ("nn.functional.dropout2d(x)", Follows.ALWAYS),
        ("torch.nn.functional.dropout3d(x, 0.5, True)", Follows.ALWAYS),
        ("F.dropout(x, training=True)", Follows.ALWAYS),
        ("F.dropout(x, training=False)", Follows.NEVER),
        ("F.dropout(x, 0.5, self.training)", Follows.MODE),
        ("F.dropout(x, training=flag)", Follows.MODE),
        ("F.dropout(x, p=0.5 * self.training)", Follows.MODE),
        ("F.alpha_dropout(x)", Follows.NEVER),
        ("F.alpha_dropout(x, 0.5, True)", Follows.ALWAYS),
        ("torch.dropout(x, 0.5, True)", Follows.ALWAYS),
        ("torch.dropout(x, 0.5, self.training)", Follows.MODE),
        ("torch.dropout(x, flag, train=True)", Follows.UNKNOWN),
        ("F.rrelu(x)", Follows.NEVER),
        ("F.batch_norm(x, self.running_mean, None)", Follows.NEVER),
        ("F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)", Follows.ALWAYS),
        ("F.scaled_dot_product_attention(x, x, x, None, self.p)", Follows.ALWAYS),
        ("F.scaled_dot_product_attention(x, x, x, dropout_p=flag)", Follows.UNKNOWN),
        ("F.scaled_dot_product_attention(x, x, x, dropout_p=self.unseen)", Follows.UNKNOWN),
    ],
)
def test_what_the_arguments_say(expression: str, expected: Follows) -> None:
    assert follows(expression) == [expected]


@pytest.mark.parametrize(
    "forward",
    [
        "return F.dropout(x) if self.training else x",
        "return self.training and F.dropout(x)",
        "x = x if not self.training else F.dropout(x)",
        "if self.training:\n            x = F.dropout(x)",
        "if self.p > 0 and self.training:\n            return F.dropout(x)",
        "if flag:\n            return x\n        elif self.training:\n            x = F.dropout(x)",
        "if not self.training:\n            return x\n        return F.dropout(x)",
        "drop = self.training\n        if drop:\n            x = F.dropout(x)",
        "return x.apply(lambda y: F.dropout(y) if self.training else y)",
        "if flag:\n            x = F.dropout(x)",
        "if self.p > 0 and not flag:\n            x = F.dropout(x)",
        "x, drop = x\n        if self.p > 0 and drop:\n            x = F.dropout(x)",
        "drop = flag['drop']\n        return F.dropout(x) if drop else x",
        "return F.dropout(x, *flag)",
        "return self.dropout(x)",
        "return dropout(x)",
    ],
)
def test_what_stands_under_the_mode_is_none_of_ours(forward: str) -> None:
    assert calls(forward) == []


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ("for _ in range(4):\n            y = self.fc(F.dropout(x, 0.5, True))", True),
        ("return [F.dropout(x.relu(), p=0.5, training=True) for _ in range(4)]", True),
        ("while flag:\n            y = self.fc(F.dropout(self.kept, 0.5, training=True))", True),
        ("return F.dropout(x, 0.5, True) if self.p else F.dropout(x, 0.5, self.training)", True),
        (
            "if self.p:\n            return F.dropout(x, 0.5, True)\n        return self.drop(x)",
            True,
        ),
        ("x = self.dropout(x) if self.p else F.dropout(x, 0.5, training=True)", True),
        ("for _ in range(4):\n            x = self.fc(F.dropout(x, 0.5, True))", False),
        ("for y in x:\n            F.dropout(self.fc(y), 0.5, True)", False),
        ("return [F.dropout(y, p=0.5, training=True) for y in x]", False),
        ("for _ in range(4):\n            self.x = F.dropout(self.x, 0.5, True)", False),
        ("for _ in range(4):\n            y = self.fc(F.dropout(x, 0.5))", False),
        ("for _ in range(4):\n            f = lambda y: F.dropout(y, 0.5, True)", False),
        ("if self.p:\n            x = F.dropout(x, 0.5, True)", False),
        ("return F.dropout(x, 0.5, True) if self.p else F.dropout(x, 0.1, True)", False),
        ("return F.dropout2d(x, 0.5, True) if self.p else F.dropout(x, 0.5, self.training)", False),
    ],
)
def test_what_tells_that_a_flag_is_meant(forward: str, expected: bool) -> None:
    found = [call for call in calls(forward) if call.follows is Follows.ALWAYS]
    assert found
    assert {call.deliberate for call in found} == {expected}


def test_the_conditions_around_a_call() -> None:
    (call,) = calls("if self.mc and flag > 0:\n            x = F.dropout(x) if self.p else x")
    assert call.conditions == ("mc", "self", "flag", "p", "self")


@pytest.mark.parametrize(
    ("forward", "more"),
    [
        ("return self.head(x)", "    def head(self, y):\n        return F.dropout(y)\n"),
        ("return x.map(self.head)", "    def head(self, y):\n        return F.dropout(y)\n"),
        ("return x.map(lambda y: F.dropout(y))", ""),
        ("for i in x:\n            x = F.dropout(x)", ""),
        ("if flag is None:\n            x = F.dropout(x)", ""),
        ("return self.propagate(x)", "    def message(self, y):\n        return F.dropout(y)\n"),
    ],
)
def test_what_a_forward_reaches(forward: str, more: str) -> None:
    assert [call.follows for call in calls(forward, more)] == [Follows.ALWAYS]


@pytest.mark.parametrize("forward", ["return x", "return self.head(x) if self.training else x"])
def test_what_no_forward_reaches_in_evaluation(forward: str) -> None:
    assert calls(forward, "    def head(self, y):\n        return F.dropout(y)\n") == []


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        ("def encode(self, x):\n        return F.dropout(x)", 1),
        ("def score(self, x):\n        return F.dropout(x)", 1),
        ("def training_step(self, x):\n        return F.dropout(x)", 0),
        ("def _noise(self, x):\n        return F.dropout(x)", 0),
        (
            "def forward(self, x):\n        return x\n\n"
            "    def augment(self, x):\n        return F.dropout(x)",
            0,
        ),
        (
            "def forward(self, x):\n        return x\n\n"
            "    def predict(self, x):\n        return F.dropout(x)",
            1,
        ),
    ],
)
def test_other_methods_that_run_in_evaluation_mode(methods: str, found: int) -> None:
    assert len(pictures_of(f"class Net(nn.Module):\n    {methods}\n").mode_calls) == found


def test_classes_that_are_no_module_and_functions_outside() -> None:
    assert not pictures_of(
        "def noisy(x):\n    return F.dropout(x)\n"
        "class Augment:\n    def forward(self, x):\n        return F.dropout(x)\n"
    ).mode_calls


def test_what_a_base_class_does_is_the_bases() -> None:
    text = "class Base(nn.Module):\n    def forward(self, x):\n        return F.dropout(x)\n"
    found = pictures_of(text + "class Net(Base):\n    pass\n").mode_calls
    assert [call.cls for call in found] == ["Base"]


@pytest.mark.parametrize(
    ("expression", "rate"),
    [
        ("F.dropout(x)", 0.5),
        ("F.dropout(x, 0)", 0),
        ("F.dropout(x, self.off)", 0),
        ("F.scaled_dot_product_attention(x, x, x)", 0.0),
        ("F.rrelu(x)", None),
    ],
)
def test_rates(expression: str, rate: float | None) -> None:
    (call,) = calls(f"return {expression}")
    assert call.rate == rate


def test_a_rate_that_changes_with_the_mode_elsewhere() -> None:
    more = "    def train(self, mode=True):\n        self.p = 0.1 * mode\n"
    more += "        return super().train(mode)\n"
    attention = "return F.scaled_dot_product_attention(x, x, x, dropout_p=self.p)"
    (call,) = calls(attention, more)
    assert call.follows is Follows.UNKNOWN


@pytest.mark.parametrize(
    ("mean", "given"), [("self.running_mean", True), ("None", False), ("flag", None)]
)
def test_running_statistics(mean: str, given: bool | None) -> None:
    (call,) = calls(f"return F.batch_norm(x, {mean}, {mean}, training=True)")
    assert (call.follows, call.statistics) == (Follows.ALWAYS, given)


def test_torch_has_these_signatures() -> None:
    functional = pytest.importorskip("torch.nn.functional")
    for name, signature in SIGNATURES.items():
        function = getattr(functional, name.rpartition(".")[2], None)
        if not name.startswith("torch.nn.functional.") or not inspect.isfunction(function):
            continue
        parameters = list(inspect.signature(function).parameters.values())
        if signature.flag is not None:
            flag = parameters[signature.flag[0]]
            assert (flag.name, flag.default) == (signature.flag[1], signature.default)
        if signature.rate is not None:
            rate = parameters[signature.rate[0]]
            assert rate.name == signature.rate[1]
            usual = signature.usual_rate
            assert rate.default == (rate.empty if usual is None else usual)
        if signature.statistics is not None:
            assert parameters[signature.statistics].name == "running_mean"
    documented = functional.scaled_dot_product_attention.__doc__
    assert "attn_mask=None, dropout_p=0.0" in documented


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("F.dropout(x)", "F.dropout(x, training=self.training)"),
        ("F.dropout(x, 0.5)", "F.dropout(x, 0.5, training=self.training)"),
        ("F.dropout(x, 0.5, True)", "F.dropout(x, 0.5, training=self.training)"),
        ("F.dropout(x, training=True, p=0.1)", "F.dropout(x, training=self.training, p=0.1)"),
        (
            "F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)",
            "F.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0.0)",
        ),
    ],
)
def test_the_fix(before: str, after: str) -> None:
    text = (
        "import torch.nn.functional as F\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        f"    def forward(self, x):\n        return {before}\n"
    )
    settings = Settings(select=("BNL105",))
    (finding,) = bnlint.lint_source(text, settings=settings).findings
    assert finding.fix is not None
    assert not finding.fix.safe
    lines = text.splitlines()
    for edit in reversed(finding.fix.edits):
        line = lines[edit.line - 1]
        lines[edit.line - 1] = line[: edit.column - 1] + edit.text + line[edit.end_column - 1 :]
    assert lines[-1].strip() == f"return {after}"
    assert not bnlint.lint_source("\n".join(lines), settings=settings).findings
