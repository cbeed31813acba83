"""BNL104: a class puts something in the place of `train` or `eval` that breaks the switch."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.overrides import HiddenMethod, ModeOverride, Reach
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at, grouped


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each method and each attribute."""
    is_live = pictures.measured.is_live
    by_place = grouped(
        pictures.mode_methods, lambda method: method.place or (method.cls, method.path)
    )
    for same_place in by_place.values():
        match same_place[0]:
            case ModeOverride() as override:
                finding = _override(override, is_live=is_live)
                if finding is not None:
                    yield finding
            case HiddenMethod() as hidden:
                yield _hidden(hidden, is_live=is_live)


def _override(override: ModeOverride, *, is_live: bool) -> Finding | None:
    said = _breaks(override)
    severity = Severity.ERROR
    if override.accepts is False and override.has_own_eval:
        severity = Severity.WARNING
    if said is None and override.returns_self is False:
        severity = Severity.NOTE
        said = (
            f"does not return the module, so that `model = {override.cls}().{_switch(override)}` is"
            " None; end it with `return self`"
        )
    if said is None:
        return None
    return RULE.finding(
        f"{override.cls}.{override.signature} takes the place of nn.Module.{override.method} and "
        f"{said}",
        override.place,
        severity=severity,
        module=(override.path or override.cls) if is_live else None,
    )


def _breaks(override: ModeOverride) -> str | None:
    """How a method breaks the switch; None when it does not, or when that cannot be seen."""
    if override.accepts is False and override.method == "eval":
        return "needs arguments: `model.eval()` raises TypeError; give the method another name"
    evaluating = "`.eval()` of every model that holds it"
    if not override.has_own_eval:
        evaluating = "`.eval()` of the module, and of every model that holds it,"
    if override.accepts is False:
        return (
            f"does not take a mode alone: {evaluating} calls train(False), which raises TypeError; "
            "give the method another name"
        )
    match override.reach:
        case Reach.LOST if override.method == "eval":
            return (
                "does not set evaluation mode: `model.eval()` leaves all layers as they are; call "
                "super().eval(), or give the method another name"
            )
        case Reach.LOST:
            given = f" with False for `{override.given}`" if override.given else ""
            return (
                f"does not hand the mode on: {evaluating} calls it{given}, and the layers stay in "
                "the mode that they are in; call super().train(mode), or give the method another "
                "name"
            )
        case Reach.FORCED:
            return (
                f"sets training mode whatever it is told: {evaluating} leaves the layers in "
                "training mode; hand the mode on, super().train(mode)"
            )
    return None


def _switch(override: ModeOverride) -> str:
    return "eval()" if override.method == "eval" else "train()"


def _hidden(hidden: HiddenMethod, *, is_live: bool) -> Finding:
    name = f"{hidden.cls}.{hidden.attribute}"
    evidence = [
        *evidence_at(hidden.defined, f"{hidden.attribute}() is defined here", Role.CAUSE),
        *evidence_at(hidden.called, f"{hidden.attribute}() is called here", Role.CAUSE),
    ]
    if hidden.attribute in ("train", "eval"):
        message = (
            f"the attribute {name} hides nn.Module.{hidden.attribute}: `.{hidden.attribute}()` of "
            f"the module{_and_of_its_parents(hidden)} raises TypeError, as it is no function; give "
            "the attribute another name"
        )
        severity = Severity.ERROR
    elif hidden.called is not None:
        message = (
            f"the attribute {name} hides the method of that name, which sets modes or freezes "
            "layers: its call raises TypeError; give the attribute another name"
        )
        severity = Severity.ERROR
    else:
        message = (
            f"the attribute {name} hides the method of that name, which sets modes or freezes "
            "layers: nobody can call it, and setting the attribute freezes nothing; give the "
            "attribute another name, and call the method"
        )
        severity = Severity.WARNING
    module = (hidden.path or hidden.cls) if is_live else None
    return RULE.finding(message, hidden.place, evidence, severity=severity, module=module)


def _and_of_its_parents(hidden: HiddenMethod) -> str:
    return ", and of every model that holds it," if hidden.attribute == "train" else ""


RULE = Rule(
    code="BNL104",
    name="broken-mode-override",
    severity=Severity.ERROR,
    summary="A module class overrides train() or eval() so that the mode no longer arrives.",
    what="""\
`nn.Module.eval()` is `self.train(False)`, and `train(mode)` sets the flag of the module and calls
`train(mode)` of each child. What a subclass puts in the place of `train` or `eval` has to do the
same. Reported are

- a `train` that does not take one argument, the mode: `def train(self)`, or a training loop
  `def train(self, loader, epochs)`; an `eval` that needs arguments;
- a `train` that never hands the mode on: neither to `super().train(mode)` or
  `nn.Module.train(self, mode)`, nor to its children;
- a `train` that calls `super().train()` without the mode, which always sets training mode;
- an attribute under the name of a method: `self.train = True`, or `self.freeze_bn = flag` where
  `freeze_bn()` is a method that sets modes;
- as a note: a `train` or `eval` that does not return the module.

Only classes that surely derive from `nn.Module` count. `bnlint.check` switches every module of such
a class to evaluation mode and looks at the layers below (and puts back what it has changed).""",
    why="""\
An exception is the lucky case: `TypeError: train() takes 1 positional argument but 2 were given`
from the `.eval()` of a model that only holds such a module. An override that loses the mode fails
in silence: `model.eval()` leaves BatchNorm on batch statistics and Dropout on, and moves the
running statistics towards the test data; everything that follows from BNL101 follows. A `train`
without `return self` breaks `model = Net().eval()`, which is `None` then: torch's own method
returns the module.""",
    fine_when="""\
- The override calls `super().train(mode)` and then puts some layers back in evaluation mode, to
  keep them frozen.
- It does nothing at all (`def train(self, mode=True): return self`), for a part that is to stay in
  the mode that it is in.
- The class is no `nn.Module`: a trainer or solver may call its loop `train`.""",
    references=(
        "PyTorch documentation, torch.nn.Module.train "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>",
        "PyTorch source, Module.train and Module.eval "
        "<https://github.com/pytorch/pytorch/blob/main/torch/nn/modules/module.py>",
        "pytorch-deeplab-xception, issue 140: an attribute hides freeze_bn() "
        "<https://github.com/jfzhang95/pytorch-deeplab-xception/issues/140>",
    ),
    wrong=(
        Example(
            """\
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)

    def train(self, loader, optimizer):  # expect: BNL104
        for x, y in loader:
            loss = nn.functional.cross_entropy(self(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
""",
            "A training loop of that name: eval() raises TypeError",
        ),
        Example(
            """\
from torch import nn


class Segmenter(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 2, 1))

    def forward(self, x):
        return self.head(self.backbone(x))

    def train(self, mode=True):  # expect: BNL104
        super().train()
        self.backbone.eval()
        return self
""",
            "The mode is not handed on: eval() leaves the head in training mode",
        ),
        Example(
            """\
from torch import nn


class Encoder(nn.Module):
    def __init__(self, train=True):
        super().__init__()
        self.train = train  # expect: BNL104
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        return self.layers(x)
""",
            "An attribute in the place of the method",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn


class Segmenter(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 2, 1))

    def forward(self, x):
        return self.head(self.backbone(x))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self
""",
            "The mode is handed on, and the backbone stays frozen",
        ),
        Example(
            """\
from torch import nn


class Trainer:
    def __init__(self, model, optimizer):
        self.model = model
        self.optimizer = optimizer

    def train(self, loader):
        self.model.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
""",
            "Nearly wrong: a class that is no module",
        ),
    ),
    check=check,
    live=True,
)
