"""BNL902: a suppression comment that suppresses nothing."""

from __future__ import annotations

from bnlint.finding import Severity
from bnlint.rules.base import Example, Rule

RULE = Rule(
    code="BNL902",
    name="unused-suppression",
    severity=Severity.NOTE,
    summary="A comment excuses a finding that is not there.",
    what="""\
A `# bnlint: ignore[...]`, a `# bnlint: ignore-file[...]` or the BNL codes of a `# noqa: ...` stand
where bnlint finds nothing of that kind, or name a rule that does not exist. Only rules that ran on
the file count: a code of an opt-in rule that is not selected, or of a rule that only the live check
has, is left alone, and so are a bare `# noqa` and the codes of other tools. bnlint makes this
finding itself, after all rules.""",
    why="""\
A comment that excuses nothing hides the next mistake: somebody repairs the model, the comment
stays, and when the mistake comes back nobody is told. It also says something about the code that
is no longer so.""",
    fine_when="""\
- The comment is for `bnlint check`, which saw more on the running model than the source shows: add
  BNL902 to its codes.""",
    fix_safety="""\
Safe: only the comment changes. The codes that suppress nothing are taken out; when none is left,
the comment goes with its reason. Codes and comments of other tools stay.""",
    references=(
        "Ruff, unused-noqa (RUF100) <https://docs.astral.sh/ruff/rules/unused-noqa/>",
        "ESLint, reportUnusedDisableDirectives "
        "<https://eslint.org/docs/latest/use/configure/rules#report-unused-eslint-disable-comments>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

bn = nn.BatchNorm2d(64, momentum=0.1)  # bnlint: ignore[BNL401] as in Keras  # expect: BNL902
""",
            "The momentum was repaired, the comment stayed",
        ),
        Example(
            """\
from torch import nn

bn = nn.BatchNorm2d(64, momentum=0.99)  # noqa: E501, BNL401, BNL402  # expect: BNL902
""",
            "One of two codes is of use",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

bn = nn.BatchNorm2d(64, momentum=0.99)  # bnlint: ignore[BNL401] one batch is an epoch here
""",
            "It excuses a finding, and says why",
        ),
        Example(
            """\
from torch import nn

conv = nn.Conv2d(3, 64, 3)  # bnlint: ignore[BNL205] checkpoints have this bias
""",
            "Nearly wrong: the rule is opt-in and did not run",
        ),
    ),
)
