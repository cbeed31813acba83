"""Python 2 read as Python 3: the few statements and literals that Python 3 refuses are written
differently in as many characters, so that every place and offset stays as it is.

What becomes of them is not what they did, but what they contain: of `print f(x)` the tuple
`print,f(x)` remains, in which `f(x)` is evaluated as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bnlint.records import Struct

_TOKENS: Final = re.compile(
    r"(?P<string>(?i:[bu]?r?)(?:\"\"\"(?s:[^\\]|\\.)*?\"\"\"|'''(?s:[^\\]|\\.)*?'''"
    r"|\"(?:[^\"\\\n]|\\(?s:.))*\"|'(?:[^'\\\n]|\\(?s:.))*'))"
    r"|(?P<blank>[ \t\f]+|\\\r?\n|#[^\r\n]*)"
    r"|(?P<newline>\r\n|\r|\n)"
    r"|(?P<number>\.?\d(?:[\w.]|(?<=[eE])[+-])*)"
    r"|(?P<word>\w+)"
    r"|(?P<operator><>|[<>]=?|(?s:.))"
)
_OLD_OCTAL: Final = re.compile(r"0[0-7]+[lL]?")
_LONG: Final = re.compile(r"(?:\d+|0[xX][\da-fA-F]+)[lL]")
_LONGEST_OCTAL: Final = 1_000
"""Digits: converting takes quadratic time, and Python refuses it from 4,300 decimal digits on."""

_OPERATORS: Final = frozenset("=.,)]}:;|&*/%<>!^@(")
_BINARY: Final = frozenset({"if", "in", "is", "and", "or", "else", "for"})
"""What follows `print` or `exec` where it is a name, or where the line is valid as it stands."""

_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class _Token(Struct):
    """A token; new: what stands in its place, in as many characters."""

    kind: str
    text: str
    new: str


def as_python3(text: str) -> str | None:
    """The text with what only Python 2 reads written otherwise, in as many characters and on the
    same lines; None when there is nothing of that kind.

    Known are `print` and `exec` statements, `except E, e`, `raise E, message`, backquotes, `<>`,
    octal and long numbers, `ur""`, unpacking parameters of a lambda, and `async` as a name. The
    result need not be valid Python 3.
    """
    tokens = [_Token(m.lastgroup or "", m[0], m[0]) for m in _TOKENS.finditer(text)]
    for start, end in _statements(tokens):
        _rewrite_statement(tokens[start:end])
    for token, following in zip(tokens, _next_words(tokens)):
        _rewrite_token(token, following)
    _rewrite_backquotes(tokens)
    rewritten = "".join(token.new for token in tokens)
    return rewritten if rewritten != text and len(rewritten) == len(text) else None


def _statements(tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    """The first and the last index of every simple statement, and of the header of a block."""
    depth = 0
    start = 0
    is_lambda = False
    for index, token in enumerate(tokens):
        if token.text in ("(", "[", "{") and token.kind == "operator":
            depth += 1
        elif token.text in (")", "]", "}") and token.kind == "operator":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif token.text == "lambda":
            is_lambda = True
        elif token.text == ":" and is_lambda:
            is_lambda = False
        elif token.kind == "newline" or token.text in (";", ":"):
            yield start, index
            start = index + 1
            is_lambda = False
    yield start, len(tokens)


def _rewrite_statement(tokens: list[_Token]) -> None:
    words = [token for token in tokens if token.kind not in ("blank", "newline")]
    if len(words) < 2:
        return
    match words[0].text:
        case "print" | "exec":
            _rewrite_output(tokens, words)
        case "except" | "raise":
            for comma in _top_level(words, ","):
                comma.new = "|"
    for index, word in enumerate(words):
        if word.text == "lambda":
            _unpack_parameters(words[index + 1 :])


def _rewrite_output(tokens: list[_Token], words: list[_Token]) -> None:
    """`print x` becomes `print,x`; where no blank follows, the name loses its last letter."""
    first, second = words[0], words[1]
    if second.text[0] in _OPERATORS or second.text in _BINARY:
        return  # a name, or valid as it stands: `print (x), y`, `print >>file, x`
    blank = tokens[tokens.index(first) + 1]
    if blank.kind != "blank":
        first.new = first.text[:-1] + ","
    elif blank.text[0] in " \t":
        blank.new = "," + blank.text[1:]


def _unpack_parameters(words: list[_Token]) -> None:
    """`lambda (a, b): x` becomes `lambda  a, b : x`."""
    opened: list[_Token] = []
    before = ","
    for word in words:
        if word.text == ":" and not opened:
            return
        if word.text in _CLOSING:
            opened.append(word)
            word.new = " " if word.text == "(" and before == "," else word.text
        elif opened and word.text == _CLOSING[opened[-1].text]:
            word.new = " " if opened.pop().new == " " else word.text
        before = "," if word.new == " " else word.text


def _top_level(words: list[_Token], wanted: str) -> Iterator[_Token]:
    depth = 0
    for token in words:
        if token.kind != "operator":
            continue
        if token.text in "([{":
            depth += 1
        elif token.text in ")]}":
            depth -= 1
        elif depth == 0 and token.text == wanted:
            yield token


def _next_words(tokens: list[_Token]) -> list[str]:
    """For each token the next one that is not blank."""
    found: list[str] = []
    following = ""
    for token in reversed(tokens):
        found.append(following)
        following = following if token.kind == "blank" else token.text
    return found[::-1]


def _rewrite_token(token: _Token, following: str) -> None:
    match token.kind:
        case "operator" if token.text == "<>":
            token.new = "!="
        case "number":
            token.new = _number(token.text)
        case "string" if token.text[:2].lower() == "ur":
            token.new = f" {token.text[1:]}"
        case "word" if token.text == "async" and following not in ("def", "for", "with"):
            token.new = "_sync"


def _number(text: str) -> str:
    """A number as Python 3 writes it, right-aligned in its old width."""
    plain = text.rstrip("lL")
    if _OLD_OCTAL.fullmatch(text):
        return _decimal(plain).rjust(len(text))
    return plain.rjust(len(text)) if _LONG.fullmatch(text) else text


def _decimal(octal: str) -> str:
    """An octal number in decimal digits; one that is too long for that stays what it is."""
    return str(int(octal, 8)) if len(octal) <= _LONGEST_OCTAL else octal


def _rewrite_backquotes(tokens: list[_Token]) -> None:
    """`` `x` `` becomes `(x)`."""
    opens = True
    for token in tokens:
        if token.text == "`":
            token.new = "(" if opens else ")"
            opens = not opens
