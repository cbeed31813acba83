"""What is refused before the native parser sees it: a hostile file would kill the process.

libcst's parser overflows the C stack at about 1,300 nested parentheses or some thousands of chained
operators, and takes time and memory without bound for very large files.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Final

from bnlint.source.text import RefusedError, split_lines


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest file that is parsed.

    bytes of a Python file, bytes of a notebook (its outputs included), lines, code points in one
    line, nodes of the abstract syntax tree, nesting (a chain of n operators is nested n deep).
    Chosen so that libcst stays under 7 s and 1 GB, and far from the end of an 8 MB stack.
    """

    bytes: int = 5_000_000
    notebook_bytes: int = 50_000_000
    lines: int = 20_000
    line_length: int = 200_000
    nodes: int = 200_000
    depth: int = 200

    def of(self, path: str) -> int:
        """The limit on the size of this file in bytes."""
        return self.notebook_bytes if path.endswith(".ipynb") else self.bytes


LIMITS: Final = Limits()
_NESTED: Final = re.compile("too many nested|too many statically nested|indentation levels")
_ATOMS: Final = re.compile(
    r"(?P<string>[a-zA-Z]{0,2}(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|"
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))|#[^\n]*|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<word>\w+)|(?P<newline>\n)|(?P<operator>[^\s\w(\[{)\]}'\"#])"
)


def check_text(text: str, limits: Limits = LIMITS) -> SyntaxError | None:
    """Raise RefusedError for text that must not reach libcst; what `ast` objects to otherwise.

    Text that is not valid Python to `ast` passes when it is small and flat enough: newer syntax
    is libcst's to judge, but the words and the place of ast's objection are the better ones.
    """
    _check_lines(text, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        if _NESTED.search(error.msg or ""):
            raise RefusedError("is nested too deeply", error.lineno or 1) from None
        _check_tokens(text, limits)
        return error
    except (RecursionError, MemoryError):
        raise RefusedError("is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(f"cannot be parsed: {error}") from None
    _check_tree(tree, limits)
    return None


def _check_lines(text: str, limits: Limits) -> None:
    lines = split_lines(text)
    if len(lines) > limits.lines:
        raise RefusedError(f"is too large: {len(lines):,} lines, the limit is {limits.lines:,}")
    for number, line in enumerate(lines, 1):
        if len(line) > limits.line_length:
            message = f"has a line of {len(line):,} characters, the limit is {limits.line_length:,}"
            raise RefusedError(message, number)


def _check_tree(tree: ast.AST, limits: Limits) -> None:
    """Count nodes and depth without recursion; a flat chain counts as it nests in libcst."""
    pending = [(tree, 0)]
    nodes = 0
    line = 1
    while pending:
        node, depth = pending.pop()
        nodes += 1
        line = getattr(node, "lineno", line)
        if isinstance(node, (ast.BoolOp, ast.JoinedStr)):
            depth += len(node.values)
        if depth > limits.depth:
            raise RefusedError(f"is nested too deeply: the limit is {limits.depth} levels", line)
        if nodes > limits.nodes:
            raise RefusedError(f"is too large: the limit is {limits.nodes:,} syntax nodes")
        depth += 1
        pending += [(child, depth) for child in ast.iter_child_nodes(node)]


def _check_tokens(text: str, limits: Limits) -> None:
    """The same for text without a tree: brackets, and operators between commas, bound depth."""
    depth = operators = clauses = 0
    line = 1
    for match in _ATOMS.finditer(text):
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
            raise RefusedError(f"is nested too deeply: the limit is {limits.depth} levels", line)


def _count_clauses(word: str, clauses: int) -> int:
    """Length of the present chain of elif clauses."""
    if word == "elif":
        return clauses + 1
    return 0 if word in ("if", "def", "class") else clauses
