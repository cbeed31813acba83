"""For the tests of projects that use BatchNorm, and of packages that bring rules of their own.

    def test_batchnorm_is_in_order():
        assert_batchnorm(build_model().eval(), next(iter(loader)), phase="inference")

Importing this module does not import torch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from bnlint.live.check import Selection
    from bnlint.live.report import Report
    from bnlint.rules.base import Rule

__all__ = ["assert_batchnorm", "assert_examples"]


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


def assert_examples(rule: Rule) -> None:
    """Lint a rule's examples: it must accuse the lines that say `# expect: CODE`, and no others.

    The rule must be installed, with its entry point. Raises AssertionError naming the example,
    `settings.SettingsError` when the rule is not installed, and ValueError for one that reads no
    source.
    """
    __tracebackhide__ = True
    import bnlint

    if not rule.source:
        raise ValueError(f"{rule.code} reads no source: run it with assert_batchnorm")
    settings = bnlint.Settings(select=(rule.code,))
    for kind, examples in (("wrong", rule.wrong), ("right", rule.right)):
        for number, example in enumerate(examples, 1):
            lines = enumerate(example.code.splitlines(), 1)
            mark = re.compile(rf"# expect: .*\b{rule.code}\b")
            expected = {line for line, text in lines if mark.search(text)}
            result = bnlint.lint_source(example.code, "example.py", settings=settings)
            of_rule = [f for f in result.findings if f.code == rule.code and f.place is not None]
            found = {f.place.line for f in of_rule if f.place is not None and not f.suppressed}
            name = f"{rule.code}, {kind} example {number} ({example.title or 'without title'})"
            if bool(expected) is not (kind == "wrong"):
                raise AssertionError(f"{name}: mark the accused lines `# expect: {rule.code}`")
            if found != expected:
                said = f"accuses lines {sorted(found)}, expected {sorted(expected)}"
                crashed = [f.message for f in result.findings if f.code == "BNL903"]
                raise AssertionError("; ".join([f"{name}: {said}", *crashed]))
