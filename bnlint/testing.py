"""For the tests of projects that use BatchNorm: one assertion.

    def test_batchnorm_is_in_order():
        assert_batchnorm(build_model().eval(), next(iter(loader)), phase="inference")

Importing this module does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from bnlint.live.check import Selection
    from bnlint.live.report import Report

__all__ = ["assert_batchnorm"]


def assert_batchnorm(
    model: nn.Module,
    inputs: Any,
    *,
    phase: Literal["inference", "training"] | None = None,
    level: str = "warning",
    settings: Selection | None = None,
) -> Report:
    """Run `bnlint.check` and raise when it finds something, or when it saw no BatchNorm.

    inputs, phase, settings: as for `bnlint.check`. level: the least severity that fails, "note",
    "warning" or "error". Returns the report, for further assertions. Raises FindingsError (an
    AssertionError) with the findings and the whole report, ValueError for another level, and
    CheckError when the check cannot be done.
    """
    __tracebackhide__ = True  # pytest then shows the caller's line
    import bnlint

    report = bnlint.check(model, inputs, phase=phase, settings=settings)
    from bnlint.live.errors import FindingsError

    if not report.layers:
        raise FindingsError(f"{report.title}: the check saw no BatchNorm\n\n{report}")
    try:
        report.raise_for(level)
    except FindingsError as error:
        raise FindingsError(f"{error}\n\n{report}") from None
    return report
