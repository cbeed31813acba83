"""Functional dropout is a layer that depends on the mode of its module."""

from __future__ import annotations

import pytest
from drawn import codes_of

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.rate = {rate}

    def forward(self, x):
        return {dropout}


net = Net()
net.load_state_dict(torch.load("net.pt"))
{mode}
with torch.no_grad():
    for x in torch.load("data.pt"):
        print(net(x).argmax(1))  # here
"""
OWN = "F.dropout(self.fc(x), self.rate, training=self.training)"


@pytest.mark.parametrize(
    ("dropout", "rate", "mode", "found"),
    [
        (OWN, "0.5", "", True),
        ("nn.functional.dropout(self.fc(x), 0.5, self.training)", "0.5", "", True),
        (OWN, "0.5", "net.eval()", False),
        (OWN, "0.5", "net.training = False", False),
        (OWN, "0.0", "", False),
        ("F.dropout(self.fc(x), 0, self.training)", "0.5", "", False),
        ("F.dropout(self.fc(x), training=False)", "0.5", "", False),
        ("F.relu(self.fc(x))", "0.5", "", False),
    ],
)
def test_functional_dropout_matters_where_it_follows_the_mode(
    dropout: str, rate: str, mode: str, found: bool
) -> None:
    codes = codes_of(NET.format(dropout=dropout, rate=rate, mode=mode))
    accused = [line for code, line in codes if code == "BNL101"]
    assert accused == (["print(net(x).argmax(1))  # here"] if found else [])


DEPTH = """
def drop_path(x, drop_prob=0.0, training=False, scale=True):
    if drop_prob == 0.0 or not training:
        return x
    keep = 1 - drop_prob
    mask = keep + torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device)
    return x.div(keep) * mask.floor_()


class DropPath(nn.Module):
    def __init__(self, drop_prob=None):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        return drop_path(x, self.drop_prob, self.training)


class Own(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        return x * torch.rand(x.shape[0], 1).ge(self.rate)


class Shift(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        return x + self.amount if self.training else x


class Block(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 4)
        self.drop = {drop}

    def forward(self, x):
        return x + self.drop(self.fc(self.norm(x)))


class Net(nn.Module):
    def __init__(self, depths=(2, 2), rate={rate}):
        super().__init__()
        rates = {rates}
        self.layers = nn.ModuleList()
        for i in range(len(depths)):
            own = rates[sum(depths[:i]):sum(depths[:i + 1])]
            self.layers.append(nn.Sequential(*[Block(own[j]) for j in range(depths[i])]))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


net = Net()
net.load_state_dict(torch.load("net.pt"))
{mode}
with torch.no_grad():
    for x in torch.load("data.pt"):
        print(net(x).argmax(1))  # here
"""
IMPORTS = """\
import numpy as np
import timm
from somewhere import unknown
from torchvision.ops import StochasticDepth
"""
SPACED = "[x.item() for x in torch.linspace(0, rate, sum(depths))]"
CHOSEN = "DropPath(rate) if rate > 0.0 else nn.Identity()"


@pytest.mark.parametrize(
    ("drop", "rate", "rates", "mode", "found"),
    [
        (CHOSEN, "0.1", SPACED, "", True),
        (CHOSEN, "0.1", "torch.linspace(0, rate, sum(depths)).tolist()", "", True),
        (CHOSEN, "0.1", "[float(x) for x in np.linspace(0, rate, 4)]", "", True),
        ("DropPath(rate)", "0.1", SPACED, "", True),
        ("Own(rate)", "0.1", SPACED, "", True),
        (CHOSEN.replace("Drop", "timm.layers.Drop"), "0.1", SPACED, "", True),
        ("StochasticDepth(rate, 'row')", "0.1", SPACED, "", True),
        ("StochasticDepth(p=rate, mode='row')", "0.1", SPACED, "net.eval()", False),
        ("timm.layers.DropPath(rate)", "0.0", SPACED, "", False),
        ("timm.layers.DropPath(unknown(rate))", "0.1", SPACED, "", False),
        (CHOSEN, "0.1", SPACED, "net.eval()", False),
        (CHOSEN, "0.0", SPACED, "", False),
        ("DropPath(rate)", "0.0", SPACED, "", False),
        ("Own(rate)", "0.0", SPACED, "", False),
        ("DropPath()", "0.1", SPACED, "", False),
        ("Shift(rate)", "0.1", SPACED, "", False),
        ("DropPath(unknown(rate))", "0.1", SPACED, "", False),
    ],
)
def test_stochastic_depth_is_dropout_where_its_rate_is_known(
    drop: str, rate: str, rates: str, mode: str, found: bool
) -> None:
    text = IMPORTS + DEPTH
    codes = codes_of(text.format(drop=drop, rate=rate, rates=rates, mode=mode))
    accused = [line for code, line in codes if code == "BNL101"]
    assert accused == (["print(net(x).argmax(1))  # here"] if found else [])


def test_random_numbers_of_others_are_no_dropout() -> None:
    """A detector that draws its samples with NumPy where it trains drops no values."""
    text = IMPORTS + DEPTH.replace("torch.rand(x", "np.random.rand(x").replace(
        "torch.rand((x", "np.random.rand((x"
    )
    for drop in ("DropPath(rate)", "Own(rate)"):
        whole = text.format(drop=drop, rate="0.1", rates=SPACED, mode="")
        assert [code for code, _ in codes_of(whole) if code == "BNL101"] == []


ATTENTION = "F.scaled_dot_product_attention(x, x, x, dropout_p={rate})"


@pytest.mark.parametrize(
    ("rate", "found"),
    [
        ("self.rate if self.training else 0", True),
        ("self.rate if self.training else 0.0", True),
        ("0.1 if self.training else 0.0", True),
        ("0.0 if self.training else 0.0", False),
        ("0.0", False),
    ],
)
def test_attention_that_drops_while_it_trains(rate: str, found: bool) -> None:
    codes = codes_of(NET.format(dropout=ATTENTION.format(rate=rate), rate="0.1", mode=""))
    assert [code for code, _ in codes if code == "BNL101"] == (["BNL101"] if found else [])
