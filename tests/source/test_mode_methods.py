"""What the source half sees of methods in the place of `train` and `eval`."""

from __future__ import annotations

import pytest
from drawn import pictures_of

from bnlint.overrides import HiddenMethod, ModeOverride, Reach


def override_of(method: str, *, base: str = "nn.Module", more: str = "") -> ModeOverride:
    text = f"class Net({base}):\n    {method}\n{more}"
    (found,) = pictures_of(text).mode_methods
    assert isinstance(found, ModeOverride)
    return found


def body(*lines: str, signature: str = "train(self, mode=True)") -> str:
    return "\n        ".join((f"def {signature}:", *lines))


@pytest.mark.parametrize(
    ("signature", "accepts"),
    [
        ("train(self, mode=True)", True),
        ("train(self, mode: bool = True, deep=False)", True),
        ("train(self, *args, **kwargs)", True),
        ("train(self, loader)", True),
        ("train(self)", False),
        ("train(self, x, y)", False),
        ("train(self, *, mode=True)", False),
        ("train(self, mode=True, *, loader)", False),
        ("train(self, **kwargs)", False),
        ("eval(self)", True),
        ("eval(self, loader=None)", True),
        ("eval(self, loader)", False),
    ],
)
def test_what_torchs_own_calls_fit(signature: str, accepts: bool) -> None:
    assert override_of(body("return super().train(mode)", signature=signature)).accepts is accepts


@pytest.mark.parametrize(
    ("lines", "reach"),
    [
        (["return super().train(mode)"], Reach.PASSED),
        (["nn.Module.train(self, mode)", "return self"], Reach.PASSED),
        (["super(Net, self).train(mode=mode)"], Reach.PASSED),
        (["for m in self.children():", "    m.train(mode)"], Reach.PASSED),
        (["self.net.train(mode)"], Reach.PASSED),
        (["self.training = mode"], Reach.PASSED),
        (["if mode:", "    return super().train()", "return super().eval()"], Reach.PASSED),
        (["if not mode:", "    self.eval()", "else:", "    super().train()"], Reach.PASSED),
        (["return super().train(False)"], Reach.PASSED),
        (["self.apply(lambda m: m.train(mode))"], Reach.UNKNOWN),
        (["super().train(mode and not self.frozen)"], Reach.PASSED),
        (["super().train(self.free)"], Reach.UNKNOWN),
        (["self.switch(mode)"], Reach.UNKNOWN),
        (["setattr(self, 'training', mode)"], Reach.UNKNOWN),
        (["super().train()"], Reach.FORCED),
        (["super().train(True)", "self.bn.eval()"], Reach.FORCED),
        (["self.training = True"], Reach.FORCED),
        (["print(mode)"], Reach.LOST),
        (["if mode:", "    super().train()"], Reach.LOST),
        (["self.net.train()"], Reach.LOST),
        (["self.freeze()"], Reach.LOST),
        (["return self"], Reach.DISABLED),
        (["pass"], Reach.DISABLED),
        (["'''Stays as it is.'''"], Reach.DISABLED),
        (["raise NotImplementedError"], Reach.DISABLED),
    ],
)
def test_how_far_evaluation_mode_gets(lines: list[str], reach: Reach) -> None:
    more = "    def freeze(self):\n        self.bn.eval()\n"
    more += "    def switch(self, flag):\n        self.net.train(flag)\n"
    assert override_of(body(*lines), more=more).reach is reach


def test_a_class_with_an_eval_of_its_own() -> None:
    text = "    def eval(self):\n        self.net.eval()\n        return self\n"
    train = body("self.net.train()", signature="train(self)")
    found = pictures_of(f"class Net(nn.Module):\n    {train}\n{text}").mode_methods
    assert [m.has_own_eval for m in found if isinstance(m, ModeOverride)] == [True, False]


def test_a_training_loop_is_given_false_for_its_loader() -> None:
    lines = ("for x in loader:", "    self.net.train()", "    self.step(x)")
    found = override_of(body(*lines, signature="train(self, loader)"))
    assert (found.given, found.reach) == ("loader", Reach.LOST)


@pytest.mark.parametrize(
    ("lines", "returns"),
    [
        (["super().train(mode)", "return self"], True),
        (["return super().train(mode)"], True),
        (["super().train(mode)"], False),
        (["if mode:", "    return self", "super().train(mode)"], False),
        (["super().train(mode)", "if not mode:", "    return self"], False),
        (["super().train(mode)", "return"], False),
        (["out = super().train(mode)", "return out"], None),
    ],
)
def test_whether_the_module_comes_back(lines: list[str], returns: bool | None) -> None:
    assert override_of(body(*lines)).returns_self is returns


def test_both_ends_count_where_the_test_is_of_something_else() -> None:
    lines = ("super().train(mode)", "if self.frozen:", "    return self")
    assert override_of(body(*lines)).returns_self is False


@pytest.mark.parametrize(
    "base", ["object", "Unknown", "Base", "torch.utils.data.Dataset", "pl.Callback"]
)
def test_classes_that_are_no_module_for_sure_are_left_alone(base: str) -> None:
    text = "import pytorch_lightning as pl\nfrom elsewhere import Unknown\nclass Base: pass\n"
    text += f"class Net({base}):\n    {body('self.run()', signature='train(self)')}\n"
    assert not pictures_of(text).mode_methods


@pytest.mark.parametrize("base", ["Base", "nn.Linear", "pl.LightningModule", "Base, Mixin"])
def test_a_module_is_known_through_its_bases(base: str) -> None:
    text = "import pytorch_lightning as pl\nclass Mixin: pass\nclass Base(nn.Module): pass\n"
    text += f"class Net({base}):\n    {body('self.run()', signature='train(self)')}\n"
    (found,) = pictures_of(text).mode_methods
    assert found.cls == "Net"


@pytest.mark.parametrize("decorator", ["staticmethod", "property", "unknown.wrapper"])
def test_a_decorator_that_may_change_the_method(decorator: str) -> None:
    assert not pictures_of(
        f"import unknown\nclass Net(nn.Module):\n    @{decorator}\n    {body('pass')}\n"
    ).mode_methods


def test_no_grad_leaves_the_method_as_it_is() -> None:
    assert override_of(f"@torch.no_grad()\n    {body('super().train(mode)')}").returns_self is False


def hidden(assignment: str, more: str = "", parameters: str = "flag=True") -> list[HiddenMethod]:
    text = (
        f"class Net(nn.Module):\n    def __init__(self, {parameters}):\n"
        "        super().__init__()\n"
        f"        {assignment}\n    def freeze(self):\n        self.bn.eval()\n"
        f"    def scale(self):\n        return 2\n{more}"
    )
    return [m for m in pictures_of(text).mode_methods if isinstance(m, HiddenMethod)]


@pytest.mark.parametrize(
    "assignment",
    [
        "self.train = True",
        "self.eval = None",
        "self.train = flag",
        "self.train = mode == 'train'",
        "self.freeze = flag",
        "self.freeze = not flag",
    ],
)
def test_flags_in_the_place_of_methods(assignment: str) -> None:
    (found,) = hidden(assignment, parameters="mode, flag=True")
    assert found.attribute in assignment


@pytest.mark.parametrize(
    "assignment",
    [
        "self.train = disabled_train",
        "self.train = lambda mode=True: self",
        "self.freeze = freezer",
        "self.scale = flag",
        "self.training = flag",
        "self.net.train = flag",
    ],
)
def test_functions_and_other_attributes_are_left_alone(assignment: str) -> None:
    assert not hidden(assignment, parameters="freezer, flag=True")


def test_a_parameter_is_a_flag_when_it_is_tested() -> None:
    use = "    def forward(self, x):\n        return x if self.freeze else -x\n"
    assert not hidden("self.freeze = given", parameters="given")
    assert hidden("self.freeze = given", use, parameters="given")


def test_who_calls_a_hidden_method() -> None:
    (found,) = hidden("self.freeze = flag", "net = Net()\nnet.freeze()\n")
    assert found.called is not None
    assert found.defined is not None
    (found,) = hidden("self.freeze = flag")
    assert found.called is None
