"""BNL903: a rule that failed on a file."""

from __future__ import annotations

from bnlint.finding import Severity
from bnlint.rules.base import Example, Rule

RULE = Rule(
    code="BNL903",
    name="rule-crashed",
    severity=Severity.ERROR,
    summary="A rule raised an exception: a mistake in bnlint, not in your code.",
    what="""\
While a rule looked at the pictures of your program it raised an exception. The finding names the
rule and the file; `--verbose` shows the traceback. The run goes on with the other rules and
files. bnlint makes this finding itself; it can be neither ignored nor put into a baseline.""",
    why="""\
A crash must neither end the run nor pass unseen: what the rule would have found is missing.
Please report it, with the traceback and, if you can, the smallest file that shows it.""",
    fine_when="""\
- Never: it is a mistake in bnlint. Until it is repaired, `--ignore` the rule that crashed.""",
    references=(
        "Python documentation, traceback <https://docs.python.org/3/library/traceback.html>",
    ),
    wrong=(),
    right=(
        Example("x = 1\n", "No program is known that makes a rule crash"),
        Example("", "Nearly wrong: an empty file"),
    ),
)
