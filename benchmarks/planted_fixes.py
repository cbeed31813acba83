"""Plant mistakes in real code, one at a time, and let bnlint fix them.

    python benchmarks/planted_fixes.py FOLDER ... [--most N] [--seed S]

The folders are sources: unpacked wheels, clones. A planted mistake that bnlint reports with a fix
must be gone after the fix: nothing is found that the file did not have before, the text parses, and
a second fix changes nothing. The exit status is 1 when one of these does not hold.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bnlint.settings import Settings
from bnlint.source.engine import LintResult, workspace_of_text
from bnlint.source.fixing import fix

NORM = re.compile(r"BatchNorm[123]d$")
ACTIVATION = re.compile(r"(ReLU6?|LeakyReLU|ELU|SiLU|GELU)$")

RIGHT = frozenset({"silent", "no fix", "fixed"})


@dataclass(frozen=True, slots=True)
class Planted:
    """`text` is the file at `path` with one mistake, for which `code` is expected."""

    path: Path
    before: str
    text: str
    code: str


def keras_momentum(source: str, tree: ast.AST) -> Iterator[str]:
    for call in _norms(tree):
        if not any(keyword.arg == "momentum" for keyword in call.keywords) and len(call.args) < 3:
            yield _insert(source, _end(source, call) - 1, ", momentum=0.99")


def positional_eps(source: str, tree: ast.AST) -> Iterator[str]:
    for call in _norms(tree):
        if len(call.args) == 1 and not call.keywords:
            yield _insert(source, _end(source, call) - 1, ", 0.8")


def activation_first(source: str, tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call.func).endswith("Sequential"):
            for norm, activation in zip(call.args, call.args[1:]):
                if _calls(norm, NORM) and _calls(activation, ACTIVATION):
                    yield _swapped(source, norm, activation)


def eval_not_called(source: str, tree: ast.AST) -> Iterator[str]:
    for statement in _evaluating(tree):
        end = _end(source, statement)
        yield source[: end - 2] + source[end:]


def eval_deleted(source: str, tree: ast.AST) -> Iterator[str]:
    for statement in _evaluating(tree):
        start, end = _start(source, statement), _end(source, statement)
        yield source[:start] + "pass" + source[end:]


OPERATORS: dict[str, Callable[[str, ast.AST], Iterator[str]]] = {
    "BNL101": eval_deleted,
    "BNL102": eval_not_called,
    "BNL201": activation_first,
    "BNL401": keras_momentum,
    "BNL402": positional_eps,
}


def plant(files: Iterable[Path]) -> Iterator[Planted]:
    """All mistakes that can be planted in these files; what is not Python in UTF-8 is passed by."""
    for path in files:
        try:
            source = path.read_text(encoding="utf-8")
            tree = _parsed(source)
        except (SyntaxError, ValueError):
            continue
        if source.isascii() and "\r" not in source:
            for code, operator in OPERATORS.items():
                yield from (Planted(path, source, text, code) for text in operator(source, tree))


def outcome(planted: Planted) -> str:
    """What became of a planted mistake: "silent", "no fix", "fixed", or what is wrong."""
    linked = planted.code == "BNL101"
    settings = Settings(select=(planted.code,))
    path = planted.path.as_posix()
    found = workspace_of_text(planted.text, path, settings, linked=linked).lint()
    before = workspace_of_text(planted.before, path, settings, linked=linked).lint()
    new = _said(found, planted) - _said(before, planted)
    if not new:
        return "silent"
    workspace = workspace_of_text(planted.text, path, settings, linked=linked)
    fixed = fix(workspace, unsafe=True, data={path: planted.text.encode()})
    if not fixed.made:
        return "no fix"
    (after,) = [change.after.decode() for change in fixed.changes if change.path == path]
    try:
        _parsed(after)
    except SyntaxError:
        return "broken"
    if _said(fixed.result, planted) - _said(before, planted):
        return "not clean"
    again = workspace_of_text(after, path, settings, linked=linked)
    return "again" if fix(again, unsafe=True, data={path: after.encode()}).made else "fixed"


def tally(planted: Iterable[Planted]) -> dict[str, Counter[str]]:
    """How often each outcome came up, by code."""
    counts: dict[str, Counter[str]] = {}
    for each in planted:
        counts.setdefault(each.code, Counter())[outcome(each)] += 1
    return counts


def _said(result: LintResult, planted: Planted) -> Counter[str]:
    """The messages about the file, without numbers of lines."""
    return Counter(
        re.sub(r"\d+", "", finding.message)
        for finding in result.findings
        if finding.place is not None and finding.place.path == planted.path.as_posix()
    )


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _norms(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (n for n in ast.walk(tree) if isinstance(n, ast.Call) and _calls(n, NORM) and n.args)


def _evaluating(tree: ast.AST) -> Iterator[ast.Expr]:
    """Statements `x.eval()`."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Call(ast.Attribute(attr="eval"), [], [])):
                yield node


def _calls(node: ast.AST, name: re.Pattern[str]) -> bool:
    return isinstance(node, ast.Call) and name.search(_name(node.func)) is not None


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _offset(source: str, line: int, column: int) -> int:
    """The offset of a position of `ast` in an ASCII text."""
    return sum(map(len, source.splitlines(keepends=True)[: line - 1])) + column


def _start(source: str, node: ast.expr | ast.stmt) -> int:
    return _offset(source, node.lineno, node.col_offset)


def _end(source: str, node: ast.expr | ast.stmt) -> int:
    return _offset(source, node.end_lineno or 0, node.end_col_offset or 0)


def _insert(source: str, at: int, text: str) -> str:
    """Insert an argument before the closing parenthesis, after a trailing comma instead of it."""
    head = source[:at].rstrip()
    return head.removesuffix(",") + text + source[len(head) :]


def _swapped(source: str, one: ast.expr, other: ast.expr) -> str:
    a, b, c, d = _start(source, one), _end(source, one), _start(source, other), _end(source, other)
    return source[:a] + source[c:d] + source[b:c] + source[a:b] + source[d:]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=200, help="mistakes planted in each folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for folder in options.folders:
        everything = list(plant(sorted(folder.resolve().rglob("*.py"))))
        random.Random(options.seed).shuffle(everything)
        print(f"{folder}: {min(len(everything), options.most)} of {len(everything)}")
        for code, counts in sorted(tally(everything[: options.most]).items()):
            print(f"  {code}  " + "  ".join(f"{n} {what}" for what, n in counts.most_common()))
            wrong += sum(n for what, n in counts.items() if what not in RIGHT)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
