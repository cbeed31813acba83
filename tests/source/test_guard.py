"""Hostile shapes are refused in time, and ordinary ones are not."""

from __future__ import annotations

import time

import pytest

from bnlint.source.guard import check_text
from bnlint.source.limits import LIMITS
from bnlint.source.reader import read_file, read_text
from bnlint.source.text import RefusedError

DEEP = {
    "parentheses": lambda n: "(" * n + "1" + ")" * n,
    "brackets": lambda n: "[" * n + "1" + "]" * n,
    "braces": lambda n: "{**" * n + "a" + "}" * n,
    "minus": lambda n: "-" * n + "1",
    "not": lambda n: "not " * n + "1",
    "lambda": lambda n: "lambda: " * n + "1",
    "attributes": lambda n: "a" + ".b" * n,
    "calls": lambda n: "a" + "()" * n,
    "subscripts": lambda n: "a" + "[0]" * n,
    "sum": lambda n: "1 + " * n + "1",
    "power": lambda n: "a ** " * n + "a",
    "and": lambda n: "a and " * n + "a",
    "conditional": lambda n: "a if b else " * n + "a",
    "elif": lambda n: "0\nif a:\n    pass\n" + "elif b:\n    pass\n" * n,
}


@pytest.mark.parametrize("terms", [1_500, 100_000])
@pytest.mark.parametrize("shape", DEEP)
def test_deep_nesting_is_refused_quickly(shape: str, terms: int) -> None:
    text = f"import torch\nx = {DEEP[shape](terms)}\n"
    start = time.process_time()
    with pytest.raises(RefusedError):
        check_text(text)
    assert time.process_time() - start < 30


@pytest.mark.parametrize("shape", DEEP)
def test_deep_nesting_behind_syntax_that_ast_does_not_know_is_refused(shape: str) -> None:
    with pytest.raises(RefusedError):
        check_text(f"print 'old'\nx = {DEEP[shape](5_000)}\n")


@pytest.mark.parametrize("shape", DEEP)
def test_fifty_levels_are_ordinary(shape: str) -> None:
    outcome = read_text("/a.py", f"import torch\nx = {DEEP[shape](50)}\n")
    assert outcome.problem is None
    assert outcome.facts is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import a" + ".a" * 4_000, "4,000 parts"),
        ("import a" + ". \\\n a" * 4_000, "4,000 parts"),
        ("x = 1\n" * 100_000, "100,001 lines"),
        ("x = '" + "a" * 1_000_000 + "'\n", "1,000,00"),
        ("x = [" + ("1, " * 60_000 + "\n") * 4 + "]", "nodes"),
    ],
)
def test_large_files_are_refused_with_the_limit(text: str, words: str) -> None:
    start = time.process_time()
    with pytest.raises(RefusedError, match=words):
        check_text(text)
    assert time.process_time() - start < 30


def test_a_plain_syntax_error_is_left_to_the_parser() -> None:
    objection = check_text("x = = 1\n")
    assert isinstance(objection, SyntaxError)
    assert objection.lineno == 1


def test_a_file_over_the_size_limit_is_not_read(tmp_path, monkeypatch) -> None:
    file = tmp_path / "big.py"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr("os.open", refuse)
    outcome = read_file(str(file))
    assert outcome.problem is not None
    assert f"{LIMITS.bytes:,}" in outcome.problem.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x = 1\0\n", "null bytes"),
        ("x = 'ä'\n".encode("utf-16"), "null bytes"),
        (b"x = 1\ny = '\xff'\n", "utf-8"),
        (b"# -*- coding: no-such -*-\n", "no-such"),
        (b"# -*- coding: rot13 -*-\n", "rot13"),
    ],
)
def test_what_is_not_text_is_refused(tmp_path, data: bytes, words: str) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(data)
    problem = read_file(str(file)).problem
    assert problem is not None
    assert words in problem.message


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffx = 'ä'\n".encode(),
        "# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1"),
        b"x = 1\r\ny = 2\rz = 3\n",
        b"x = 1\n\x0c\ny = 2",
        b"",
    ],
)
def test_python_text_in_any_declared_form_is_read(tmp_path, data: bytes) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(data)
    assert read_file(str(file)).problem is None


def test_the_line_of_an_undecodable_byte_is_named(tmp_path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"x = 1\ny = '\xff'\n")
    problem = read_file(str(file)).problem
    assert problem is not None
    assert problem.line == 2
