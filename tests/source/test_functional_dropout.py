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
