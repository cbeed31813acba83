"""`bnlint.watch`: a model is observed while the user's own loop trains it or runs it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import torch.distributed as dist
from torch import nn

from bnlint.finding import Finding
from bnlint.live.callers import Callers, Site, stance
from bnlint.live.check import Selection, is_on, judge
from bnlint.live.errors import BatchNormWarning, CheckError
from bnlint.live.health import Health
from bnlint.live.line import Line, Sighting, norms_in_training
from bnlint.live.listening import Call, Listener
from bnlint.live.mode_methods import candidates, mode_methods
from bnlint.live.places import Places
from bnlint.live.preserve import Preserve
from bnlint.live.roster import Entry, Roster
from bnlint.live.unseen import Unseen
from bnlint.rules.base import Measured, Pictures, Rule
from bnlint.settings import check_settings

_COMPILED = "compiled: its mode is watched, not its calls and their sizes"

WATCHED = frozenset(
    {
        "BNL101",
        "BNL103",
        "BNL104",
        "BNL106",
        "BNL301",
        "BNL303",
        "BNL502",
        "BNL505",
        "BNL601",
    }
)
"""The rules that judge while a program runs; the others need the passes of a check."""


def watch(model: nn.Module, *, settings: Selection | None = None) -> Watch:
    """Observe a model in the user's own loop and warn, the moment a BatchNorm mistake happens.

        with bnlint.watch(model) as watching:
            train(model)
        print(watching.findings)

    It warns (`BatchNormWarning`, once for each place, at the user's line) of inference in training
    mode, training in evaluation mode after it was in training mode, a batch of one, statistics
    that frozen layers go on moving or that turn non-finite, checkpointed BatchNorm, export in
    training mode, and (at once) of classes whose `train()` loses the mode. The model is run by
    nobody but the user, and nothing is put on it. `start()` and `stop()` do the same without a
    `with`. Raises CheckError when the model is no torch.nn.Module, SettingsError for settings that
    are none.
    """
    if not isinstance(model, nn.Module):
        raise CheckError(f"a {type(model).__name__} is no torch.nn.Module")
    check_settings(settings)
    return Watch(model, settings)


class Watch:
    """One watch over one model; see `watch`."""

    def __init__(self, model: nn.Module, settings: Selection | None = None) -> None:
        self._roster = Roster(model)
        self._line = Line(self._roster)
        self._health = Health(self._roster)
        self._listener = Listener(self._roster, self)
        self._lock = threading.RLock()
        self._findings: dict[object, Finding] = {}
        self._ran: set[int] = set()
        self._hidden: set[int] = set()
        self._wanted = _Watched(settings)
        self._running = False

    # -- for the user

    def start(self) -> Self:
        """Begin to watch; what cannot be watched is said at once."""
        if self._running:
            raise RuntimeError("this watch is running already")
        for name in self._roster.scripted:
            part = name or "the model"
            _warn(f"{part} is compiled TorchScript with BatchNorm inside: it is not watched")
        if not self._roster.entries and not self._roster.scripted:
            title = type(self._roster.root).__name__
            _warn(f"{title} holds neither BatchNorm nor Dropout: there is nothing to watch")
        self._examine_classes()
        self._listener.start()
        self._running = True
        return self

    def stop(self) -> None:
        """End the watch: judge what was still open, and remove every hook."""
        if not self._running:
            return
        self._running = False
        self._listener.stop()
        self._flush()
        if self._roster.norms and not self._ran:
            title = type(self._roster.root).__name__
            _warn(f"no BatchNorm of {title} was seen to run: was another model called?")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
            return
        with suppress(BatchNormWarning):  # as an error it would hide the user's own
            self.stop()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, less what a comment excuses.

        Forwards of which only the future could tell are judged now.
        """
        self._flush()
        return tuple(found for found in self._findings.values() if not found.suppressed)

    @property
    def uninspected(self) -> tuple[Unseen, ...]:
        """BatchNorm that was not seen so far, and why."""
        found = [Unseen(name, "it is compiled TorchScript") for name in self._roster.scripted]
        for entry in self._roster.norms:
            if entry.index not in self._ran:
                found.append(Unseen(entry.path, "it was not seen to run"))
            elif entry.index in self._hidden:
                found.append(Unseen(entry.path, _COMPILED))
        return tuple(found)

    # -- for the listener

    def reached(self, call: Call, entry: Entry, values: int | None) -> None:
        """A batch of one is a mistake before PyTorch raises."""
        if values == 1 and call.grad and entry.module.training and not _is_synchronised(entry):
            with self._lock:
                self._judge(self._line.single_value(call, entry.index))

    def ended(self, call: Call) -> None:
        """Judge a forward by itself."""
        with self._lock:
            self._ran.update(call.called)
            self._hidden.update(i for i, values in call.called.items() if values is None)
            self._judge(self._line.ended(call))
            if norms_in_training(self._roster, call):
                self._check_health(call)

    def exported(self, call: Call) -> None:
        """Judge the mode in which the model was exported."""
        with self._lock:
            self._ran.update(call.called)
            self._judge(self._line.exported(call))

    def learned(self, call: Call) -> None:
        """Part of a training step."""
        with self._lock:
            self._line.learned(call)

    def stepped(self, ours: bool) -> None:
        """Judge the training step."""
        with self._lock:
            self._judge(self._line.stepped(ours))

    # -- findings

    def _examine_classes(self) -> None:
        """Judge what the model's classes do to the mode, before it is run."""
        wanted = candidates(self._roster.root)
        if not wanted:
            return
        try:
            with Preserve(self._roster.root) as preserve:
                found = mode_methods(wanted, preserve, Places())
        except CheckError:  # lazy, or without memory: it cannot be put back
            return
        measured = Measured(output={"batch": None})
        pictures = Pictures(mode_methods=found, measured=measured)
        self._report(judge(pictures, self._wanted), Site.unknown())

    def _flush(self) -> None:
        with self._lock:
            self._judge(self._line.undecided())

    def _judge(self, sightings: Iterable[Sighting]) -> None:
        for sighting in list(sightings):
            measured = Measured(output={"batch": sighting.call.batch})
            pictures = Pictures(traces=(sighting.trace,), measured=measured)
            self._report(judge(pictures, self._wanted), sighting.site)

    def _check_health(self, call: Call) -> None:
        if not self._health.has_broken():
            return
        graph, numbers = self._health.picture()
        pictures = Pictures(graphs=(graph,), measured=Measured(numbers))
        self._report(judge(pictures, self._wanted), call.site)

    def _report(self, findings: Iterable[Finding], site: Site) -> None:
        new = [found for found in findings if (found.code, found.place) not in self._findings]
        for found in new:
            self._findings[found.code, found.place] = found
        for found in new:
            if not found.suppressed:
                _warn(f"{found.code} {found.severity.label}: {found.message}", found, site)

    def __str__(self) -> str:
        lines = [_line(found) for found in self._findings.values() if not found.suppressed]
        lines += [f"NOT INSPECTED {part.name}: {part.reason}" for part in self.uninspected]
        return "\n".join(lines) or "no findings"


class _Watched:
    """The user's choice of rules, as far as a watch can judge them."""

    def __init__(self, settings: Selection | None) -> None:
        self._settings = settings

    @property
    def rules(self) -> Mapping[str, Mapping[str, int]]:
        """The options of single rules."""
        return {} if self._settings is None else self._settings.rules

    def selects(self, rule: Rule, *, live: bool = False) -> bool:
        """Whether a watch asks this rule."""
        return rule.code in WATCHED and is_on(rule, self._settings)


def _is_synchronised(entry: Entry) -> bool:
    """Whether the layer's statistics come from several processes."""
    return entry.name.endswith("SyncBatchNorm") and dist.is_available() and dist.is_initialized()


def _line(found: Finding) -> str:
    where = f"{found.place.path}:{found.place.line}: " if found.place is not None else ""
    return f"{where}{found.code} [{found.severity.label}] {found.message}"


def _warn(message: str, finding: Finding | None = None, site: Site | None = None) -> None:
    """Warn at the user's line; a place is reported once, so that no registry is needed."""
    warning = BatchNormWarning(f"bnlint.watch: {message}", finding)
    if site is None or site.place is None:
        how = stance()
        site = Callers().site(how.frame) if how is not None else Site.unknown()
    line = site.place.line if site.place is not None else 1
    warnings.warn_explicit(warning, None, site.file, line, site.module)
