"""Is the guilty layer found, and are clean networks left alone?

Three small networks are trained. One layer of each, at random, is corrupted: mean shifted,
variance scaled up or down, both. How often has it the largest d, and how often does BNL504 name it?
Then clean networks are checked on fresh draws of data: none may be reported by BNL504 or BNL506.

    python benchmarks/corruption_trials.py [--trials 40] [--draws 100]
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))

from small_networks import CORRUPTIONS, NETWORKS, corrupt, images, trained

from bnlint.live.check import check

SIZES = (16, 32, 64, 128)
"""Batch sizes of the draws, in turn."""


def trials(model: nn.Module, kind: str, count: int, generator: torch.Generator) -> tuple[int, ...]:
    """How often the corrupted layer has the largest d, is named by BNL504, and BNL506 speaks."""
    first = named = disagree = 0
    for _ in range(count):
        broken = copy.deepcopy(model)
        guilty = corrupt(broken, kind, generator)
        report = check(broken, images(64, generator)[0], phase="inference")
        worst = max(report.layers, key=lambda layer: layer.d or 0.0)
        findings = {finding.code: finding for finding in report.findings}
        first += worst.name == guilty
        named += "BNL504" in findings and findings["BNL504"].module == guilty
        disagree += "BNL506" in findings
    return first, named, disagree


def false_alarms(model: nn.Module, draws: int, generator: torch.Generator) -> tuple[int, float]:
    """Clean draws that are reported, and the largest d."""
    alarms, largest = 0, 0.0
    for draw in range(draws):
        data = images(SIZES[draw % len(SIZES)], generator)[0]
        report = check(model, data, phase="inference")
        alarms += bool({"BNL504", "BNL506"} & {finding.code for finding in report.findings})
        largest = max(largest, *(layer.d or 0.0 for layer in report.layers))
    return alarms, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="for each network and corruption")
    parser.add_argument("--draws", type=int, default=100, help="of clean data, for each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'network':<15}{'corruption':<12}{'largest d':>10}{'BNL504':>8}{'BNL506':>8}  of")
    total = right = 0
    for name in NETWORKS:
        model, generator = trained(name), torch.Generator().manual_seed(1)
        for kind in CORRUPTIONS:
            first, named, disagree = trials(model, kind, options.trials, generator)
            total, right = total + options.trials, right + first
            print(f"{name:<15}{kind:<12}{first:>10}{named:>8}{disagree:>8}  {options.trials}")
        alarms, largest = false_alarms(model, options.draws, generator)
        print(f"{name:<15}{'clean':<12} reported {alarms} of {options.draws}, d <= {largest:.2f}")
    print(f"guilty layer first: {right} of {total} ({right / total:.1%})")


if __name__ == "__main__":
    main()
