"""What a check costs: time and peak memory over one plain forward in evaluation mode.

The default check on one batch: a pass on batch statistics (which also draws the layer graph), one
on running statistics, one with dropout on where there is dropout, and the control in two halves.
torch-audit (`pip install --no-deps torch-audit==0.3.0`) is timed beside it where it is installed:
one audited forward. CPU seconds of one thread, each the best of several; every network in a
process of its own, which for memory gives back at once what is freed (or the peak would be
fragmentation).

    python benchmarks/live_cost.py [--repeats 3] [--device cpu] [--samples 64]
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from sweep_pytorchcv import adapted, build

from bnlint.live.check import check
from bnlint.live.intercept import Source
from bnlint.live.passes import Session

NETWORKS = ("resnet18", "resnet50", "densenet121", "mobilenetv2_w1", "efficientnet_b0")
SIDE = 96
PASSES = ("batch", "running", "dropout", "control")


def cpu_seconds(run: Callable[[], Any], device: str) -> float:
    """CPU time of a call; wall time where another device does the work."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    synchronise(device)
    started = clock()
    run()
    synchronise(device)
    return clock() - started


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def timed_passes(run: Callable[[], Any], device: str) -> dict[str, float]:
    """The seconds of each pass inside a check."""
    found: dict[str, float] = defaultdict(float)
    original = Session.run
    whole = 0

    def timing(session: Session, inputs: Any, plan: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal whole
        whole = max(whole, inputs.batch)
        if inputs.batch < whole:
            name = "control"
        elif plan.dropout:
            name = "dropout"
        else:
            name = "batch" if plan.source is Source.BATCH else "running"
        result: list[Any] = []
        found[name] += cpu_seconds(
            lambda: result.append(original(session, inputs, plan, *args, **kwargs)), device
        )
        return result[0]

    with mock.patch.object(Session, "run", timing):
        run()
    return found


def peak(run: Callable[[], Any], device: str) -> tuple[int, int]:
    """Bytes held before a call, and at its peak: of the process, or of the device."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return before, torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    run()
    return before, status("VmHWM")


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def model_and_input(name: str, device: str, samples: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return adapted(build(name)).eval().to(device), torch.randn(samples, 3, SIDE, SIDE).to(device)


def plain(model: nn.Module, data: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(data)
    return output


def audit(model: nn.Module, data: Tensor) -> None:
    from torch_audit import audit_dynamic

    with audit_dynamic(model, every_n_steps=1) as auditor, torch.no_grad():
        auditor.forward(data)


def times(name: str, device: str, samples: int, repeats: int) -> dict[str, float]:
    """Seconds of a plain forward, of a check and its passes, and of torch-audit."""
    model, data = model_and_input(name, device, samples)
    plain(model, data), check(model, data)
    rows: list[dict[str, float]] = []
    for _ in range(repeats):
        row = {"plain": cpu_seconds(lambda: plain(model, data), device)}
        row["check"] = cpu_seconds(lambda: check(model, data), device)
        row |= timed_passes(lambda: check(model, data), device)
        if importlib.util.find_spec("torch_audit") is not None:
            row["torch-audit"] = cpu_seconds(lambda: audit(model, data), device)
        rows.append(row)
    return {key: min(row[key] for row in rows) for key in rows[0]}


def memory(name: str, device: str, samples: int, checked: bool) -> tuple[int, int]:
    """Memory before and at the peak of the first forward, or check, of a process."""
    model, data = model_and_input(name, device, samples)
    check(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(device), torch.randn(8, 4))
    return peak(lambda: check(model, data) if checked else plain(model, data), device)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that runs in a process of its own."""
    limits = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    changed = mock.patch.dict(os.environ, limits if function is memory else {})
    with changed, multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    options = parser.parse_args()
    shape = (options.device, options.samples)
    columns = ("network", "plain s", "check", *PASSES, "torch-audit", "memory", "growth")
    print(f"input {options.samples} x 3 x {SIDE} x {SIDE}, times as multiples of a plain forward")
    print(f"{columns[0]:<18}" + "".join(f"{column:>12}" for column in columns[1:]))
    ratios = []
    for name in options.networks:
        found = apart(times, name, *shape, options.repeats)
        base = found.pop("plain")
        ratios.append(found["check"] / base)
        cells = [f"{base:.2f}"]
        cells += [
            f"{found[key] / base:.2f}" if key in found else "-"
            for key in ("check", *PASSES, "torch-audit")
        ]
        before, without = apart(memory, name, *shape, False)
        start, with_check = apart(memory, name, *shape, True)
        cells.append(f"{with_check / without:.2f}")
        cells.append(f"{(with_check - start) / max(without - before, 1):.2f}")
        print(f"{name:<18}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    print(f"check: median {statistics.median(ratios):.2f}, largest {max(ratios):.2f}")
    print("memory: peak of the process over that of a plain forward; growth: above the model alone")


if __name__ == "__main__":
    main()
