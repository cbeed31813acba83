"""EX101: a house rule, that BatchNorm layers have the eps of our accelerator."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Fix, SetArgument, Severity
from bnlint.graph import Kind
from bnlint.rules.base import Example, Pictures, Rule

EPS = 1e-3


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each BatchNorm whose eps is known and another."""
    seen = set()
    for graph in pictures.graphs:
        for norm in graph.of_kind(Kind.BATCHNORM):
            eps = norm.params.get("eps")
            if not isinstance(eps, float) or eps == EPS or norm.place is None:
                continue
            if norm.place in seen:
                continue
            seen.add(norm.place)
            text = f"eps={EPS:g}"
            yield RULE.finding(
                f"{norm.short_name} has eps={eps:g}, and our accelerator calculates with {EPS:g}",
                norm.place,
                fix=Fix(f"write {text}", (SetArgument(norm.place, "eps", text),)),
            )


RULE = Rule(
    code="EX101",
    name="house-eps",
    severity=Severity.WARNING,
    summary="A BatchNorm has another eps than our accelerator.",
    what="A BatchNorm layer is built with an eps that is known and is not 0.001.",
    why="The exported network is calculated with 0.001, so that its outputs differ.",
    fine_when="- The network is never exported.",
    fix_safety="Unsafe: the outputs of a trained network change a little.",
    references=("PyTorch documentation <https://docs.pytorch.org/docs/stable/nn.html>",),
    wrong=(
        Example("from torch import nn\n\nbn = nn.BatchNorm2d(8)  # expect: EX101\n", "Torch's"),
    ),
    right=(Example("from torch import nn\n\nbn = nn.BatchNorm2d(8, eps=1e-3)\n", "Ours"),),
    check=check,
    live=True,
)
