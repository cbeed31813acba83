"""What is refused before the native parser sees it: a hostile file would kill the process.

libcst's parser overflows the C stack at about 1,300 nested parentheses or some thousands of chained
operators, and takes time and memory without bound for very large files.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from bnlint.source.limits import LIMITS, Limits
from bnlint.source.text import NO_FILE, RefusedError, split_lines

_BRACKETED: Final = frozenset(
    {
        ast.Call,
        ast.Dict,
        ast.DictComp,
        ast.GeneratorExp,
        ast.List,
        ast.ListComp,
        ast.Set,
        ast.SetComp,
        ast.Subscript,
        ast.Tuple,
    }
)
_MANY_PARENTHESES: Final = 50_000
"""From here on they are counted one by one: those without a meaning are not in the tree."""

_LARGE: Final = 500_000
"""Code points from which on a text is measured before `ast` sees it."""

_MOST_PARTS: Final = 4_000
"""Python's parser keeps every beginning of `a.b.c`: at 20,000 parts they take 400 MB."""

_DOTTED: Final = re.compile(r"\b\w++(?:[ \t\\\n]*+\.[ \t\\\n]*+\w++)++")
_CASE: Final = re.compile(r"^[ \t\f]*case\b", re.MULTILINE)
_TOO_DEEP: Final = "is nested too deeply: the limit is {:,} levels"
_TOO_BRACKETED: Final = "nests too much in brackets: the limit is {:,} of them around its parts"
_NESTED: Final = re.compile("too many nested|too many statically nested|indentation levels")
_ATOMS: Final = re.compile(
    r"(?P<string>[a-zA-Z]{0,2}(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|"
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))|#[^\n]*|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<word>\w+)|(?P<newline>\n)|(?P<operator>[^\s\w(\[{)\]}'\"#])"
)


def parse(text: str) -> ast.Module:
    """The syntax tree of a text; raises what `ast.parse` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse("\n".join(split_lines(text)), NO_FILE)


def check_text(text: str, limits: Limits = LIMITS) -> ast.Module | SyntaxError:
    """The syntax tree of a text, or what `ast` objects to; raises RefusedError for text that must
    not reach libcst, and that is not followed either.

    Text that is not valid Python to `ast` passes when it is small and flat enough: newer syntax
    is libcst's to judge, but the words and the place of ast's objection are the better ones.
    """
    lines = split_lines(text)
    _check_lines(lines, limits)
    text = "\n".join(lines)
    _check_names(text)
    if len(text) > _LARGE:
        _check_size(text, limits)
    try:
        tree = parse(text)
    except SyntaxError as error:
        if _NESTED.search(error.msg or ""):
            raise RefusedError("is nested too deeply", error.lineno or 1) from None
        _check_tokens(text, limits)
        _check_patterns(text, limits)
        return error
    except (RecursionError, MemoryError):
        raise RefusedError("is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(f"cannot be parsed: {error}") from None
    for first, last in _check_tree(tree, limits):
        _check_patterns("\n".join(lines[first - 1 : last]), limits)
    if text.count("(") > _MANY_PARENTHESES:
        _check_tokens(text, limits)
    return tree


def _check_names(text: str) -> None:
    if text.count(".") < _MOST_PARTS:
        return
    for found in _DOTTED.finditer(text):
        if found[0].count(".") >= _MOST_PARTS:
            message = f"has a name of more than {_MOST_PARTS:,} parts"
            raise RefusedError(message, text.count("\n", 0, found.start()) + 1)


def _check_size(text: str, limits: Limits) -> None:
    """Count words and marks: `ast` itself takes long for millions of them."""
    most = 4 * limits.nodes
    if sum(1 for _ in islice(_ATOMS.finditer(text), most + 1)) > most:
        raise RefusedError(f"is too large: the limit is {most:,} words and marks")


def _check_lines(lines: list[str], limits: Limits) -> None:
    if len(lines) > limits.lines:
        raise RefusedError(f"is too large: {len(lines):,} lines, the limit is {limits.lines:,}")
    for number, line in enumerate(lines, 1):
        if len(line) > limits.line_length:
            message = f"has a line of {len(line):,} characters, the limit is {limits.line_length:,}"
            raise RefusedError(message, number)


def _check_tree(tree: ast.Module, limits: Limits) -> list[tuple[int, int]]:
    """Count nodes and depth without recursion; a flat chain counts as it nests in libcst. The
    first and last lines of all outermost `match` statements."""
    matches: list[ast.Match] = []
    pending: list[tuple[Sequence[ast.AST], int, int]] = [((tree,), 0, 0)]
    nodes = brackets = 0
    while pending:
        siblings, above, inside = pending.pop()
        for node in siblings:
            weight, opens, fields, is_chain = _KINDS[type(node)]
            depth = above + _length_of_chain(node) if is_chain else above
            nodes += weight
            brackets += inside * weight
            if depth > limits.depth or nodes > limits.nodes or brackets > limits.brackets:
                raise _refusal(node, depth, nodes, limits)
            if not fields:
                continue
            children: list[ast.AST] = []
            for name in fields:  # as ast.iter_child_nodes does, in a quarter of the time
                value: Any = getattr(node, name, None)
                if type(value) is list:
                    children += [part for part in value if type(part) in _KINDS]
                elif type(value) in _KINDS:
                    children.append(value)
            if children:
                pending.append((children, depth + 1, inside + opens))
            if type(node) is ast.Match:
                matches.append(node)
    return _outermost((m.lineno, m.end_lineno or m.lineno) for m in matches)


def _refusal(node: ast.AST, depth: int, nodes: int, limits: Limits) -> RefusedError:
    """What is said of a tree at the node that is one too many."""
    if depth > limits.depth:
        return RefusedError(_TOO_DEEP.format(limits.depth), _line_of(node))
    if nodes > limits.nodes:
        return RefusedError(f"is too large: the limit is {limits.nodes:,} syntax nodes")
    return RefusedError(_TOO_BRACKETED.format(limits.brackets))


def _line_of(node: ast.AST) -> int:
    """The line of a node, or of the first one in it that has one."""
    found = (getattr(part, "lineno", None) for part in ast.walk(node))
    return next((line for line in found if line is not None), 1)


_LEAVES: Final = frozenset({"ctx", "op", "ops", "id", "attr", "kind", "level", "type_comment"})
"""Fields with strings and numbers, and with nodes that only mark their parent."""
_MARKED: Final = frozenset(
    {
        ast.Name,
        ast.Attribute,
        ast.Subscript,
        ast.Starred,
        ast.List,
        ast.Tuple,
        ast.BinOp,
        ast.UnaryOp,
        ast.BoolOp,
        ast.AugAssign,
        ast.Compare,
    }
)
"""Nodes that come with such a mark, which counts."""
_CHAINS: Final = frozenset({ast.BoolOp, ast.JoinedStr, ast.alias, ast.ImportFrom})
_KINDS: Final = {
    kind: (
        2 if kind in _MARKED else 1,
        kind in _BRACKETED,
        () if kind is ast.Constant else tuple(f for f in kind._fields if f not in _LEAVES),
        kind in _CHAINS,
    )
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
"""Of each kind of node: for how many it counts, whether it is in brackets, the fields that may hold
nodes of interest, and whether it is a chain."""


def _outermost(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans that no other one holds."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not found or last > found[-1][1]:
            found.append((first, last))
    return found


def _length_of_chain(node: ast.AST) -> int:
    """How many levels a node has in libcst that it does not have in `ast`."""
    match node:
        case ast.BoolOp() | ast.JoinedStr():
            return len(node.values)
        case ast.alias():
            return node.name.count(".")
        case ast.ImportFrom():
            return (node.module or "").count(".")
        case _:
            return 0


def _check_patterns(text: str, limits: Limits) -> None:
    """Bound the steps for the patterns of `match`: each bracket doubles them, and one that may
    hold either a pattern or a sequence of patterns doubles them twice."""
    start = 0
    steps = 0
    while (case := _CASE.search(text, start)) is not None:
        start = case.end()
        weights = [1]
        before = None
        for atom in _ATOMS.finditer(text, start):
            start = atom.end()
            steps += weights[-1]
            if steps > limits.pattern_steps:
                line = text.count("\n", 0, case.start()) + 1
                raise RefusedError("nests brackets in a pattern too deeply", line)
            if atom.lastgroup == "open":
                doubled = atom[0] == "[" or (before is not None and before.lastgroup == "word")
                weights.append(weights[-1] * (2 if doubled else 4))
            elif atom.lastgroup == "close" and len(weights) > 1:
                weights.pop()
            elif len(weights) == 1 and _ends_header(atom, before):
                break
            before = atom


def _ends_header(atom: re.Match[str], before: re.Match[str] | None) -> bool:
    """Whether the pattern of a `case` ends here, outside of brackets."""
    if atom.lastgroup == "newline":
        return before is None or before[0] != "\\"
    return atom[0] in (":", "if")


def _check_tokens(text: str, limits: Limits) -> None:
    """The same for text without a tree: brackets, and operators between commas, bound depth."""
    depth = operators = clauses = brackets = 0
    line = 1
    for match in _ATOMS.finditer(text):
        brackets += depth
        match match.lastgroup:
            case "open":
                depth += 1
                operators += 1
            case "close":
                depth = max(0, depth - 1)
            case "newline":
                line += 1
                operators = operators if depth else 0
            case "string":
                line += match[0].count("\n")
            case "word":
                clauses = _count_clauses(match[0], clauses)
                operators += match[0] in ("not", "lambda", "and", "or", "if", "await")
            case "operator":
                operators = 0 if match[0] == "," else operators + 1
        if max(depth, clauses) > limits.depth or operators > 5 * limits.depth:
            raise RefusedError(_TOO_DEEP.format(limits.depth), line)
        if brackets > limits.brackets:
            raise RefusedError(_TOO_BRACKETED.format(limits.brackets), line)


def _count_clauses(word: str, clauses: int) -> int:
    """Length of the present chain of elif clauses."""
    if word == "elif":
        return clauses + 1
    return 0 if word in ("if", "def", "class") else clauses
