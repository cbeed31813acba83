"""`BatchNormCallback`: `bnlint.watch` over everything that a Lightning trainer runs.

    from bnlint.lightning import BatchNormCallback

    trainer = Trainer(callbacks=[BatchNormCallback()])

Works with `lightning` and with `pytorch_lightning`; neither is installed with bnlint, and importing
this module imports neither of them, nor torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnlint.finding import Finding
    from bnlint.live.check import Selection
    from bnlint.live.watch import Watch

    BatchNormCallback: type

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class _Watching:
    """Watches the model from the beginning of fit, validate, test or predict to its end.

    settings: which rules judge, as for `bnlint.watch`. raises: whether findings at or above this
    level ("note", "warning", "error") fail the run when it ends; None only warns.
    """

    def __init__(self, *, settings: Selection | None = None, raises: str | None = None) -> None:
        super().__init__()
        from bnlint.finding import Severity

        self._settings = settings
        self._raises = None if raises is None else Severity.parse(raises)
        self._watch: Watch | None = None
        self._findings: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, in the run that goes on or in the last one."""
        return self._findings if self._watch is None else self._watch.findings

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """A stage begins."""
        import bnlint

        self._end()
        self._findings = ()
        self._watch = bnlint.watch(pl_module, settings=self._settings).start()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """A stage has ended; raises FindingsError where that was asked for."""
        from bnlint.live.errors import FindingsError

        self._end()
        bad = [f for f in self._findings if self._raises and f.severity >= self._raises]
        if bad:
            lines = [f"{f.code} {f.severity.label}: {f.message}" for f in bad]
            raise FindingsError("\n".join(lines))

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The trainer gives up."""
        self._end(exception)

    def _end(self, error: BaseException | None = None) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            try:
                watch.__exit__(type(error) if error else None, error, None)
            finally:
                self._findings = watch.findings


@cache
def _callback() -> type:
    """The callback as a subclass of every Lightning's Callback that the program may be using."""
    packages = [name for name in _PACKAGES if name in sys.modules] or [
        name for name in _PACKAGES if importlib.util.find_spec(name.partition(".")[0])
    ][:1]
    if not packages:
        raise ModuleNotFoundError(
            "bnlint.lightning.BatchNormCallback needs Lightning: pip install lightning",
            name="lightning",
        )
    bases = dict.fromkeys(importlib.import_module(name).Callback for name in packages)
    members = {"__doc__": _Watching.__doc__, "__module__": __name__}
    return type("BatchNormCallback", (_Watching, *bases), members)


def __getattr__(name: str) -> Any:
    """The callback's class, made when it is used: its base class is Lightning's."""
    if name == "BatchNormCallback":
        return _callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
