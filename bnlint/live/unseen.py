"""What a check could not look into, and why: it must never read as clean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bnlint.live.modules import Names, outermost_scripted, scripted_norms, torch_entry
from bnlint.live.observe import Drifting
from bnlint.live.passes import Outcome


@dataclass(frozen=True, slots=True)
class Unseen:
    """A part of the model, or of the measurement, that is missing from the report; or, when
    `of_rules`, what rules do not say."""

    name: str
    reason: str
    of_rules: bool = False


def unseen(names: Names, first: Drifting, outcome: Outcome) -> list[Unseen]:
    """Everything that the first pass should have seen and did not."""
    found = [Unseen(key.rpartition("#")[0], why) for key, why in first.failed.items()]
    found += _impossible(first)
    found += _scripted(names)
    measured = {key.rpartition("#")[0] for key in (*first.seen, *first.failed)}
    found += _not_seen(names, measured, outcome)
    found += _hand_written(names, measured, outcome)
    found += [Unseen(path, "it ran on another thread") for path in outcome.elsewhere]
    return found


def _impossible(first: Drifting) -> Iterator[Unseen]:
    for seen in first.seen.values():
        if not seen.possible:
            yield Unseen(
                seen.path,
                "batch statistics are impossible: one value per channel (PyTorch raises in "
                "training); it ran on running statistics",
            )
        elif seen.running is None:
            yield Unseen(seen.path, "it has no running statistics, so there is no drift to measure")


def _scripted(names: Names) -> Iterator[Unseen]:
    for path, module in outermost_scripted(names.root):
        norms = scripted_norms(module)
        inside = f", {norms} BatchNorm inside" if norms else ""
        yield Unseen(path, f"it is compiled TorchScript{inside}: check the module before scripting")


def _not_seen(names: Names, measured: set[str], outcome: Outcome) -> Iterator[Unseen]:
    """BatchNorm modules without a call."""
    for path, module in names.batchnorms():
        if path in measured:
            continue
        if id(module) in outcome.called:
            yield Unseen(path, "it ran without F.batch_norm, in a way that cannot be followed")
        else:
            yield Unseen(path, "it was not called in this forward")


def _hand_written(names: Names, measured: set[str], outcome: Outcome) -> Iterator[Unseen]:
    """Modules with running statistics that are not torch's BatchNorm or InstanceNorm."""
    for path, module in names.root.named_modules():
        if torch_entry(module) is not None or id(module) not in outcome.called:
            continue
        buffers = dict(module.named_buffers(recurse=False))
        if "running_mean" in buffers and "running_var" in buffers and path not in measured:
            cls = type(module).__name__
            yield Unseen(path, f"{cls} is a BatchNorm of its own making, which is not measured")
