"""Live checks with faults over ten architectures: does every model come back bit by bit?

Exceptions at random layers, Ctrl-C at random times and at random lines of bnlint's own code, lack
of memory, forwards that change their own modules, parameters, classes and threads, NaN and
infinities: `tests/live/faults.py` has them all. After each check the state (every attribute of
every module, buffers, parameters, gradients, hooks, classes, generators, torch's own modes and
signal handlers) is compared with the one before.

    python benchmarks/live_faults.py [--rounds 3] [--seed 0]

One round is every fault once on each of the ten networks. Exit code 1 where a model was changed
and nobody was told, or where a report could not be made.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))

from faults import NAMES, VALUES, measured, trial
from sweep_pytorchcv import build

NETWORKS: dict[str, tuple[int, ...]] = {
    "resnet20_cifar10": (4, 3, 16, 16),
    "preresnet20_cifar10": (4, 3, 16, 16),
    "seresnet20_cifar10": (4, 3, 16, 16),
    "densenet40_k12_cifar10": (4, 3, 16, 16),
    "shakeshakeresnet20_2x16d_cifar10": (4, 3, 16, 16),
    "mobilenet_wd4": (4, 3, 32, 32),
    "mobilenetv3_small_w7d20": (4, 3, 32, 32),
    "shufflenetv2_wd2": (4, 3, 32, 32),
    "efficientnet_b0": (4, 3, 32, 32),
    "quartznet5x5_en_ls": (2, 64, 64),
}


def model_and_inputs(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    model = _small(build(name)).train()
    inputs: tuple[Tensor, ...] = (torch.randn(NETWORKS[name]),)
    if name.startswith("quartznet"):
        inputs = (*inputs, torch.tensor([48, 64]))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model, inputs


def _small(model: nn.Module) -> nn.Module:
    """With a last pooling that takes small images."""
    features = getattr(model, "features", None)
    if isinstance(getattr(features, "final_pool", None), nn.AvgPool2d):
        features.final_pool = nn.AdaptiveAvgPool2d(1)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []

    def complain(text: str) -> None:
        wrong.append(text)
        print(f"  WRONG {text}", flush=True)

    for network in NETWORKS:
        checked = measured(*model_and_inputs(network))
        print(f"{network}: {checked.seconds:.2f} s a check", flush=True)
        for name in NAMES:
            for round_ in range(options.rounds):
                seed = options.seed + round_
                try:
                    verdict = trial(name, checked, seed, plot=name in VALUES and not round_)
                except Exception:
                    complain(f"{name} on {network}, seed {seed}: {traceback.format_exc()}")
                    continue
                state = "same" if verdict.same else "told" if verdict.told else "CHANGED"
                table[name][f"{state}, {'raised' if verdict.raised else 'report'}"] += 1
                if not verdict.is_right(name):
                    complain(f"{name} on {network}, seed {seed}: {verdict}")
                if not verdict.same:
                    checked = replace(checked, model=model_and_inputs(network)[0])
    for name in NAMES:
        print(f"{name:<36} {dict(table[name])}")
    total = sum((table[name] for name in NAMES), Counter())
    print(f"{total.total()} checks in {time.process_time() - started:.0f} CPU s: {dict(total)}")
    print(f"{len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
