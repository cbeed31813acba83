"""BNL901: a file that bnlint could not read."""

from __future__ import annotations

from bnlint.finding import Severity
from bnlint.rules.base import Example, Rule

RULE = Rule(
    code="BNL901",
    name="cannot-parse",
    severity=Severity.ERROR,
    summary="A file could not be parsed, so nothing in it was checked.",
    what="""\
The file is not valid Python (or not a valid notebook), is not readable as text, is too large, is
nested too deeply, or took the parser's process with it. The rest of the run is not affected.
bnlint makes this finding itself, before any rule runs.

Code for an older Python (`print` and `exec` statements, `except E, e`, `<>`, backquotes, old
numbers, `async` as a name, as in `x.cuda(async=True)`) is read all the same. A note says so, since
its findings are complete but have no fixes.""",
    why="""\
A file that was not checked must not read as a clean one. The limits exist because a native
parser can be killed by its input: about 1,300 nested parentheses end the process, and 100,000
lines need half a minute and 2 GB. Such files are generated as a rule, and hold no model.""",
    fine_when="""\
- The file is a template, or generated: leave it out with `exclude` in `[tool.bnlint]` or
  `--exclude`.""",
    references=(
        "Python documentation, ast.parse (a warning on deep nesting) "
        "<https://docs.python.org/3/library/ast.html#ast.parse>",
        "LibCST documentation <https://libcst.readthedocs.io/>",
    ),
    wrong=(
        Example("def forward(self, x:  # expect: BNL901\n    return self.bn(x)\n", "Not closed"),
        Example('print "epoch", epoch  # expect: BNL901\n', "A note: Python 2, and read as such"),
    ),
    right=(
        Example('print("epoch", 1)\n', "Python 3"),
        Example(
            "def first[T](items: list[T]) -> T:\n    return items[0]\n",
            "Nearly wrong: syntax that is newer than the Python that runs bnlint is read, too",
        ),
    ),
)
