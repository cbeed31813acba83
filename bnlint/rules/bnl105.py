"""BNL105: a function that drops values, or normalises with the batch, in evaluation mode too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bnlint.finding import Finding, Fix, ReplaceArgument, SetArgument, Severity
from bnlint.functional import Follows, ModeCall
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import grouped, is_number

_ON_PURPOSE = re.compile(
    r"[Pp]re_?[Nn]et|[Bb]ayes|[Mm]onte|[Uu]ncertain|[Aa]lways|(^|_|[a-z])MC(?=[A-Z][a-z]|_|\d|$)|(^|_)mc_"
)
"""Names of designs that drop at inference, too: Monte Carlo dropout (Gal and Ghahramani 2016), the
prenet of Tacotron 2 (Shen et al. 2018)."""


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each call."""
    is_live = pictures.measured.is_live
    wrong = [call for call in pictures.mode_calls if _message(call) is not None]
    for same in grouped(wrong, lambda call: call.place or (call.cls, call.path)).values():
        call = same[0]
        yield RULE.finding(
            _message(call) or "",
            call.place,
            fix=None if is_live else _fix(call),
            module=(call.path or call.cls) if is_live else None,
        )


def _message(call: ModeCall) -> str | None:
    """What is wrong with a call; None when nothing is."""
    name, function = f"{call.cls}.{call.method}" if call.method else call.cls, call.short_name
    if function == "batch_norm":
        return _about_statistics(call, name)
    if call.follows is not Follows.ALWAYS or (is_number(call.rate) and call.rate == 0):
        return None
    if call.deliberate or any(map(_ON_PURPOSE.search, (call.cls, call.method, *call.conditions))):
        return None
    if function == "scaled_dot_product_attention":
        return (
            f"{name} calls scaled_dot_product_attention() with a dropout_p that does not depend on "
            f"the mode: it drops in evaluation mode, too; pass `dropout_p=... if "
            f"{call.receiver}.training else 0.0`"
        )
    if function == "rrelu":
        why = "training=True: its slopes are random in evaluation mode, too"
    elif call.stated:
        why = "its flag set to True: it drops in evaluation mode, too"
    else:
        why = "no `training` argument, which is True by default: it drops in evaluation mode, too"
    return f"{name} calls {function}() with {why}; pass `training={call.receiver}.training`"


def _about_statistics(call: ModeCall, name: str) -> str | None:
    """What is wrong with a call of batch_norm."""
    if call.follows is Follows.ALWAYS and call.statistics:
        return (
            f"{name} calls batch_norm() with training=True and running statistics: in evaluation "
            "mode, too, it normalises with the batch and moves the statistics; pass "
            f"`training={call.receiver}.training`"
        )
    if call.follows is Follows.NEVER and call.statistics is False:
        return (
            f"{name} calls batch_norm() with neither running statistics nor training=True, which "
            "raises an error; pass one of them"
        )
    return None


def _fix(call: ModeCall) -> Fix | None:
    if call.place is None or call.follows is not Follows.ALWAYS:
        return None
    if call.function == "torch.nn.functional.scaled_dot_product_attention":
        if not is_number(call.rate):
            return None
        text = f"dropout_p={call.rate} if {call.receiver}.training else 0.0"
        return Fix(f"pass {text}", (ReplaceArgument(call.place, "dropout_p", text),))
    if not call.function.startswith("torch.nn.functional."):
        return None
    text = f"training={call.receiver}.training"
    return Fix(f"pass {text}", (SetArgument(call.place, "training", text),))


RULE = Rule(
    code="BNL105",
    name="functional-training-flag",
    severity=Severity.ERROR,
    summary="A function such as F.dropout does not follow the mode of the module that calls it.",
    what="""\
`nn.Dropout` asks whether its module is in training mode; a function cannot. A method that a forward
reaches calls

- `F.dropout(x)`, `F.dropout1d/2d/3d(x)` without `training=`, which is True by default, or any of
  the dropout functions (and `F.rrelu`) with the constant True;
- `F.scaled_dot_product_attention(..., dropout_p=p)` with a rate that is the same in both modes:
  this function has no flag at all;
- `F.batch_norm(x, self.running_mean, ..., training=True)`, or without running statistics and
  without `training=True`.

Only methods of classes that surely derive from `nn.Module` count. `bnlint.check` sees the same on a
model in evaluation mode.""",
    why="""\
`model.eval()` does not reach a function. Dropout stays on: predictions are random, a little worse
each time, and nothing tells. PyTorch's own MNIST example, faster-rcnn.pytorch and DGL's examples
had `F.dropout(x)` for months or years; nanoGPT passed its rate to
`scaled_dot_product_attention` in both modes. `batch_norm` with `training=True` normalises with the
test batch and moves the running statistics towards the test data.""",
    fine_when="""\
- The call stands under `if self.training:`, or its rate is 0 in evaluation mode
  (`p=self.p if self.training else 0.0`): then it is not reported.
- Dropout at inference is the design: Monte Carlo dropout, the prenet of Tacotron 2. A class,
  method or condition that is named so (`MCDropout`, `Prenet`, `if self.mc_dropout:`) is not
  reported; nor is a flag that is set to True where the same value is dropped anew in every round of
  a loop, or where another branch holds the dropout that follows the mode.
- `F.batch_norm(x, None, None, training=True)`: weight standardisation, AdaIN. Not reported.
- The call stands under a condition that the caller hands in (`def forward(self, x, drop):`), or its
  flag is True and its rate is a parameter: then whoever calls may know the mode. Not reported.
- Functions outside of modules take their flag from whoever calls them.""",
    fix_safety="Unsafe: what the model gives in evaluation mode changes, as it should.",
    references=(
        "PyTorch documentation, torch.nn.functional.dropout "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html>",
        "PyTorch documentation, scaled_dot_product_attention: dropout is always applied "
        "<https://docs.pytorch.org/docs/stable/generated/"
        "torch.nn.functional.scaled_dot_product_attention.html>",
        "pytorch/examples, the fix of mnist/main.py "
        "<https://github.com/pytorch/examples/commit/c053f31a0577517c85136faf41802598d551a519>",
        "nanoGPT, pull request 240: dropout in evaluation mode "
        "<https://github.com/karpathy/nanoGPT/pull/240>",
        "Gal and Ghahramani 2016, Dropout as a Bayesian Approximation "
        "<https://arxiv.org/abs/1506.02142>",
    ),
    wrong=(
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.25)  # expect: BNL105
        return self.fc2(x)
""",
            "Dropout that model.eval() does not reach",
        ),
        Example(
            """\
from torch import nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    def __init__(self, width, heads, dropout=0.1):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.heads = heads
        self.dropout = dropout

    def forward(self, x):
        b, t, c = x.shape
        parts = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(  # expect: BNL105
            parts[0], parts[1], parts[2], dropout_p=self.dropout, is_causal=True
        )
        return y.transpose(1, 2).reshape(b, t, c)
""",
            "A rate that is the same in both modes",
        ),
    ),
    right=(
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.25, training=self.training)
        return self.fc2(x)
""",
            "The flag is handed on",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class DropBlock(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        return F.dropout(x, self.rate)


class Attention(nn.Module):
    def forward(self, q, k, v):
        rate = 0.1 if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
""",
            "Nearly wrong: the mode is asked for somewhere else",
        ),
    ),
    check=check,
    live=True,
)
