"""What `bnlint.watch` costs: training steps of one network with and without it (ResNet-18 of
pytorchcv), in one run.

The two kinds of step alternate, and their CPU time is taken, so that whatever else the machine does
matters little; the median of the pairs' ratios is the figure. Run with
`python benchmarks/watch.py [--size 32] [--steps 30]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from pytorchcv.models.resnet import resnet18
from torch import Tensor, nn

import bnlint


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def measure(batch: int, size: int, steps: int) -> tuple[list[float], list[float]]:
    torch.manual_seed(0)
    model = resnet18()
    model.features.final_pool = nn.AdaptiveAvgPool2d(1)  # for images smaller than 224
    step = training_step(model, torch.randn(batch, 3, size, size), torch.randint(1000, (batch,)))
    for _ in range(2):
        step()
    plain: list[float] = []
    watched: list[float] = []
    for number in range(steps):
        pair = (False, True) if number % 2 else (True, False)
        for with_watch in pair:
            if with_watch:
                with bnlint.watch(model):
                    step()  # the first step of a watch looks at the program's lines
                    watched.append(seconds(step))
            else:
                plain.append(seconds(step))
    return plain, watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    warnings.simplefilter("error", bnlint.BatchNormWarning)
    torch.set_num_threads(1)
    plain, watched = measure(options.batch, options.size, options.steps)
    ratios = sorted(after / before for before, after in zip(plain, watched))
    quarter = len(ratios) // 4
    shape = f"{options.batch} x 3 x {options.size} x {options.size}"
    print(f"resnet18, {shape}, one CPU thread, {options.steps} pairs of training steps")
    print(f"plain   {statistics.median(plain):8.4f} s a step (best {min(plain):.4f})")
    print(f"watched {statistics.median(watched):8.4f} s a step (best {min(watched):.4f})")
    print(
        f"ratio   {statistics.median(ratios):8.4f} (middle half of the pairs: "
        f"{ratios[quarter]:.4f} to {ratios[-quarter - 1]:.4f})"
    )


if __name__ == "__main__":
    main()
