"""The comments of a text: what the quick search says is what Python's tokenizer says."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import pytest

from bnlint.comments import comments_with

TEXTS = {
    "behind code": "x = 1  # noqa\n",
    "in a string": 'x = "# noqa"  # noqa: one\n',
    "in a docstring": '"""One.\n\n# noqa\n"""\n# noqa\n',
    "in quotes of the other kind": "x = \"'\"  # noqa '\ny = '\"'  # noqa \"\n",
    "behind an escaped quote": "x = 'a\\'b'  # noqa\ny = '\\\\'  # noqa\n",
    "in a raw string": "x = r'\\' # noqa'\n",
    "over a continued string": "x = 'a\\\n# noqa'  # noqa\n",
    "over a continued string, carriage returns": "x = 'a\\\r\n# noqa'  # noqa\r\n",
    "quotes in triple quotes": "x = '''a'b''c\\'''d'''  # noqa\n",
    "in a formatted string": 'x = f"{a}# noqa"  # noqa\n',
    "in nested formats": "x = f\"{a:{b['c']}}\"  # noqa\n",
    "words in capitals": "# NOQA\n# BnLint: ignore\n",
    "other words": "# nothing\nx = 1  # type: int  # noqa\n",
    "strings in a string": 'x = f"{a["#"]}"  # noqa\n',
    "wide characters": "é = '日本'  # noqa é\n",
    "several newlines": "a\r\n\r\nb  # noqa\nc  # noqa\n",
    "a form feed": "\f# noqa\n",
    "at the end": "x = 1  # noqa",
}


def by_tokenizer(text: str) -> list[tuple[int, int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(text, newline="").readline)
    return [
        (token.start[0], token.start[1] + 1, token.string)
        for token in tokens
        if token.type == tokenize.COMMENT
        and any(word in token.string.lower() for word in ("noqa", "bnlint:"))
    ]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_comments_are_those_of_the_tokenizer(text: str) -> None:
    assert list(comments_with(text, ("noqa", "bnlint:"))) == by_tokenizer(text)


def test_the_comments_of_the_standard_library_are_those_of_the_tokenizer() -> None:
    for path in sorted(Path(tokenize.__file__).parent.glob("*.py"))[::4]:
        text = path.read_text(encoding="utf-8") + "\n# noqa\n"
        assert list(comments_with(text, ("noqa", "bnlint:"))) == by_tokenizer(text), path


@pytest.mark.parametrize("text", ["x = '\n# noqa\n", "x = '''\n# noqa\n", "x = (\n# noqa\n"])
def test_comments_of_broken_code_are_found_as_far_as_it_can_be_read(text: str) -> None:
    assert [comment for _, _, comment in comments_with(text, ("noqa",))] == ["# noqa"]
