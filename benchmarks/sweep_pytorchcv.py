"""Check every network of pytorchcv: are all BatchNorm calls seen, is the state left alone?

For each constructor that builds in under 10 s and holds BatchNorm: `bnlint.check` completes, sees
as many BatchNorm calls as a plain patch of `F.batch_norm` counts, and leaves every attribute,
buffer, gradient, flag and generator bit-identical. One child process for each network.

    python benchmarks/sweep_pytorchcv.py --out sweep.jsonl [--start 0 --step 1 --minutes 60]
    python benchmarks/sweep_pytorchcv.py --summary sweep.jsonl
"""

from __future__ import annotations

import argparse
import inspect
import json
import multiprocessing
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))

from live_states import fingerprint

from bnlint.live.check import check

SLOWEST_BUILD = 10.0
LONGEST = 900.0
SAMPLES = 2
SMALL = 96


SPECIAL: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    "PFPCNet": lambda: (torch.randn(SAMPLES, 1, 320, 240),),
    "VOCA": lambda: (torch.randn(SAMPLES, 1, 16, 29), torch.full((SAMPLES,), 3)),
    "VisemeNet": lambda: (torch.randn(34, 8, 195), torch.full((34, 76), 3)),
}
"""What networks of a kind of their own take, from their own tests."""


def constructors() -> dict[str, Any]:
    """pytorchcv's own list of constructors by name."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        # One network (ProPainter) wants a layer of torchvision's; the others do without.
        stub = types.ModuleType("torchvision")
        stub.ops = types.ModuleType("torchvision.ops")  # type: ignore[attr-defined]
        stub.ops.DeformConv2d = nn.Conv2d
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules |= {"torchvision": stub, "torchvision.ops": stub.ops}
    from pytorchcv.model_provider import _models

    found: dict[str, Any] = _models
    return found


def build(name: str) -> nn.Module:
    """A network without weights; one for speech without its spectrogram, which needs librosa."""
    try:
        model: nn.Module = constructors()[name](pretrained=False)
    except ImportError:
        model = constructors()[name](pretrained=False, from_audio=False)
    return model


def batchnorms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def candidates(model: nn.Module) -> Iterator[tuple[Tensor, ...]]:
    """Inputs that may fit, the cheapest first."""
    if type(model).__name__ in SPECIAL:
        yield SPECIAL[type(model).__name__]()
        return
    channels = int(getattr(model, "in_channels", 3) or 3)
    native = getattr(model, "in_size", None)
    parameters = inspect.signature(model.forward).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if any(parameter.name.endswith("len") for parameter in parameters):
        features = native if isinstance(native, int) else channels
        yield torch.randn(SAMPLES, features, 128), torch.tensor([100, 128])[:SAMPLES]
    sizes = [(SMALL, SMALL), (128, 128), (224, 224)]
    if isinstance(native, tuple):
        small = (min(native[0], SMALL), min(native[1], SMALL))
        sizes = [small, tuple(native), *sizes]
    count = max(len(required), 1)
    for size in dict.fromkeys(sizes):
        yield tuple(torch.randn(SAMPLES, channels, *size) for _ in range(count))


def adapted(model: nn.Module) -> nn.Module:
    """The network with a final pooling that takes small images, too."""
    features = getattr(model, "features", None)
    if isinstance(getattr(features, "final_pool", None), nn.AvgPool2d):
        features.final_pool = nn.AdaptiveAvgPool2d(1)
    return model


def fitting(model: nn.Module) -> tuple[tuple[Tensor, ...], int]:
    """The first input that the network accepts, and its calls of F.batch_norm."""
    failures = []
    for inputs in candidates(model):
        try:
            with torch.no_grad(), mock.patch.object(F, "batch_norm", wraps=F.batch_norm) as counter:
                model(*inputs)
            return inputs, counter.call_count
        except Exception as error:
            failures.append(f"{tuple(inputs[0].shape)}: {type(error).__name__}: {error}"[:200])
    raise ValueError(f"no input fits ({failures[0]}; {failures[-1]})")


def examine(name: str) -> dict[str, Any]:
    """What the check makes of one network."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    started = time.perf_counter()
    model = build(name)
    built = time.perf_counter() - started
    result: dict[str, Any] = {"name": name, "built_s": round(built, 2)}
    if built > SLOWEST_BUILD:
        return {**result, "outcome": "slow to build"}
    result["modules"] = batchnorms(model)
    if not result["modules"]:
        return {**result, "outcome": "no BatchNorm"}
    model = adapted(model).eval()
    try:
        inputs, result["counted"] = fitting(model)
    except ValueError as error:
        return {**result, "outcome": "no input", "why": str(error)}
    result["shape"] = [list(tensor.shape) for tensor in inputs]
    model.train()
    before = fingerprint(model)
    started = time.perf_counter()
    try:
        report = check(model, inputs, phase="inference")
    except Exception as error:
        result["why"] = f"{type(error).__name__}: {error}"[:300]
        result["outcome"] = "raised"
    else:
        result["seen"] = len(report.layers)
        result["codes"] = sorted({finding.code for finding in report.findings})
        result["uninspected"] = [f"{u.name}: {u.reason}" for u in report.uninspected][:4]
        result["outcome"] = "ok" if result["seen"] == result["counted"] else "calls differ"
    result["check_s"] = round(time.perf_counter() - started, 2)
    if fingerprint(model) != before:
        result["outcome"] = "state changed"
    return result


def _child(name: str, pipe: Any) -> None:
    try:
        pipe.send(examine(name))
    except BaseException as error:
        pipe.send({"name": name, "outcome": "failed", "why": f"{type(error).__name__}: {error}"})


def run(name: str) -> dict[str, Any]:
    """One network in a process of its own."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(name, sending))
    child.start()
    sending.close()
    try:
        if receiving.poll(LONGEST):
            return dict(receiving.recv())
        return {"name": name, "outcome": "timed out"}
    except EOFError:
        return {"name": name, "outcome": "died"}
    finally:
        child.kill()
        child.join()


def sweep(out: Path, start: int, step: int, minutes: float) -> None:
    names = list(constructors())[start::step]
    known = {json.loads(line)["name"] for line in out.open()} if out.exists() else set()
    deadline = time.monotonic() + minutes * 60
    with out.open("a") as file:
        for name in names:
            if time.monotonic() > deadline:
                break
            if name not in known:
                file.write(json.dumps(run(name)) + "\n")
                file.flush()


def summary(out: Path) -> None:
    results = [json.loads(line) for line in out.open()]
    outcomes = Counter(result["outcome"] for result in results)
    print(len(results), "constructors:", dict(outcomes))
    calls = sum(result.get("counted", 0) for result in results if result["outcome"] == "ok")
    print(calls, "BatchNorm calls seen in the networks that are ok")
    for result in results:
        if result["outcome"] not in ("ok", "no BatchNorm", "slow to build"):
            print(" ", {k: v for k, v in result.items() if k not in ("codes", "built_s")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("sweep.jsonl"))
    parser.add_argument("--start", type=int, default=0, help="first network")
    parser.add_argument("--step", type=int, default=1, help="every how manyth network")
    parser.add_argument("--minutes", type=float, default=600, help="stop after this time")
    parser.add_argument("--summary", type=Path, help="only print what a file of results says")
    options = parser.parse_args()
    if options.summary is not None:
        summary(options.summary)
        return
    sweep(options.out, options.start, options.step, options.minutes)
    summary(options.out)


if __name__ == "__main__":
    main()
