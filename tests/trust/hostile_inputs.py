"""Files that no one should have to read: each class is a stream of (name, bytes)."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from encodings.aliases import aliases
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from nesting import HEAD, SHAPES, nested

Inputs: TypeAlias = Iterator[tuple[str, bytes]]

DEPTHS: Final = (12, 30, 60, 100, 150, 180, 195, 220, 1_000, 10_000)
SMALL: Final = f"{HEAD}bn = nn.BatchNorm2d(8, momentum=0.99)  # \u00e9\nbn.eval\n"
TOKEN: Final = re.compile(rb"\w+|\s+|[^\w\s]")


def deep() -> Inputs:
    """Every shape at every depth."""
    for depth in DEPTHS:
        for shape in SHAPES:
            yield f"{shape} {depth}.py", nested(shape, depth).encode()


def encoded() -> Inputs:
    """The same small file in every encoding that Python knows, declared rightly and wrongly."""
    for name in sorted({*aliases, *aliases.values(), "utf-8-sig", "no-such-codec", "x" * 5_000}):
        text = f"# -*- coding: {name} -*-\n{SMALL}"
        try:
            data = text.encode(name)
        except (LookupError, TypeError, UnicodeError, AssertionError, ValueError):
            data = text.encode()
        yield f"{name}.py", data
        yield f"{name} declared.py", text.encode()
        yield f"{name} with a mark.py", codecs.BOM_UTF8 + text.encode()


def odd() -> Inputs:
    """Marks, nulls, form feeds, newlines of all kinds, surrogates, and what is hardly a file."""
    text = SMALL.encode()
    yield "empty.py", b""
    for number, mark in enumerate((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE)):
        yield f"mark {number}.py", mark + text
        yield f"two marks {number}.py", mark * 2 + text
        yield f"marks alone {number}.py", mark
    for number, piece in enumerate(
        (b"\0", b"\x0c", b"\r", b"\x1a", b"\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xff")
    ):
        yield f"first {number}.py", piece + text
        yield f"last {number}.py", text + piece
        yield f"everywhere {number}.py", text.replace(b"\n", b"\n" + piece)
        yield f"instead of newlines {number}.py", text.replace(b"\n", piece)
        yield f"in a comment {number}.py", text.replace(b"# ", b"# " + piece)
        yield f"in a string {number}.py", b"x = 'a" + piece + b"b'\n" + text
        yield f"alone {number}.py", piece * 1_000
    for number, newline in enumerate((b"\r", b"\r\n", b"\n\r", b"\x0b", b"\\\n", b";")):
        yield f"newlines {number}.py", text.replace(b"\n", newline)
    for comment in (b"# bnlint: ignore[", b"# noqa: ", b"# bnlint: ignore-file[" + b"A," * 9_999):
        yield f"comment {comment[:12].decode()}.py", text.replace(b"\n", comment + b"\n")
    yield "surrogates.py", "x = '\ud800\udfff'\n".encode("utf-8", "surrogatepass") + text
    yield (
        "identifiers.py",
        "\ufb01 = 1\n\u210c = \ufb01\nclass \u65e5(nn.Module): pass\n".encode() + text,
    )
    yield "numbers.py", f"x = {'9' * 100_000}\ny = 0{'7' * 9_999}\nz = 1e{'9' * 999}\n".encode()
    yield "power.py", b"x = 9 ** 9 ** 9 ** 9\ny = 'a' * 10 ** 12\nz = [0] * 10 ** 12\n" + text
    yield "shift.py", b"x = 1 << 10 ** 12\ny = 1 << (1 << 40)\nz = range(10 ** 15)\n" + text
    yield (
        "format.py",
        b"x = '%999999999d' % 1\ny = f'{1:>999999999}'\nz = '{:9999999999}'.format(1)\n",
    )
    yield "bytes.py", b"x = b'\\xff' * 10 ** 11\ny = x.decode() + 'a'.ljust(10 ** 12)\n" + text


def large() -> Inputs:
    """Many lines, long lines, many of one thing."""
    pieces: dict[str, Callable[[int], str]] = {
        "lines": lambda n: "x = 1\n" * n,
        "empty lines": lambda n: "\n" * n,
        "comments": lambda n: "# bnlint: ignore[BNL101] because\n" * n,
        "layers": lambda n: "x = nn.BatchNorm2d(8, 0.9)\n" * n,
        "names": lambda n: "".join(f"x{i} = x{i - 1}\n" for i in range(n)),
        "semicolons": lambda n: "x = 1;" * n,
        "arguments": lambda n: f"f({'a,' * n})",
        "keywords": lambda n: f"f({','.join(f'a{i}=1' for i in range(n))})",
        "a list": lambda n: f"x = [{'1,' * n}]",
        "a dictionary": lambda n: f"x = {{{'1:1,' * n}}}",
        "a string": lambda n: f"x = '{'a' * n}'",
        "strings": lambda n: "x = (" + "'a'\n" * n + ")",
        "one line": lambda n: "x = " + "a." * n + "b",
        "a sum": lambda n: "x = " + "a + " * n + "b",
        "targets": lambda n: "x = " * n + "1",
        "blanks": lambda n: " " * n + "\nx = 1",
        "continued": lambda n: "x = 1 " + "\\\n" * n + "+ 1",
        "dots": lambda n: "import a" + ".a" * n,
        "relative": lambda n: f"from {'.' * n} import b",
        "imports": lambda n: "".join(f"import a{i}\n" for i in range(n)),
        "handlers": lambda n: "try: pass\n" + "except a: pass\n" * n,
        "functions": lambda n: "def f(): pass\n" * n,
        "classes": lambda n: "class C(C): pass\n" * n,
        "decorators": lambda n: "@f\n" * n + "def f(): pass\n",
        "globals": lambda n: f"def f():\n    global {','.join(f'a{i}' for i in range(n))}\n",
    }
    for size in (2_000, 9_900, 19_000, 60_000, 400_000):
        for name, make in pieces.items():
            yield f"{name} {size}.py", f"{HEAD}{make(size)}\n".encode()


def truncated(files: Sequence[Path], count: int, random: Random) -> Inputs:
    """Real files cut off somewhere, at the end or at the beginning."""
    for number in range(count):
        path, data = _one_of(files, random)
        cut = random.randrange(len(data) + 1)
        yield f"{number} {path.name}", data[:cut] if random.random() < 0.7 else data[cut:]


def flipped(files: Sequence[Path], count: int, random: Random) -> Inputs:
    """Real files in which some bits are wrong."""
    for number in range(count):
        path, data = _one_of(files, random)
        wrong = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 5, 50))):
            if wrong:
                wrong[random.randrange(len(wrong))] ^= 1 << random.randrange(8)
        yield f"{number} {path.name}", bytes(wrong)


def scrambled(files: Sequence[Path], count: int, random: Random) -> Inputs:
    """Real files with words left out, doubled and exchanged: mostly still Python to begin with."""
    for number in range(count):
        path, data = _one_of(files, random)
        tokens = TOKEN.findall(data)
        for _ in range(random.choice((1, 2, 8))):
            if tokens:
                at, other = (random.randrange(len(tokens)) for _ in range(2))
                tokens[at] = random.choice((b"", tokens[at] * 2, tokens[other]))
        yield f"{number} {path.name}", b"".join(tokens)


def notebooks(files: Sequence[Path], count: int, random: Random) -> Inputs:
    """Notebooks that are none: other JSON, broken JSON, cells of the wrong kind."""
    code = [{"cell_type": "code", "source": SMALL.splitlines(keepends=True)}]
    values = (None, 1, "x", [], {}, [[]], [None], [1, "a"], {"a": 1}, "\ud800", code, True)
    for number, value in enumerate(values):
        yield f"value {number}.ipynb", json.dumps(value).encode()
        for key in ("cells", "worksheets", "metadata"):
            yield f"{key} {number}.ipynb", json.dumps({"cells": code, key: value}).encode()
        for key in ("source", "cell_type", "input", "outputs"):
            cells = [{**code[0], key: value}]
            yield f"{key} {number}.ipynb", json.dumps({"cells": cells}).encode()
        metadata = {"language_info": value}
        both = {"cells": code, "metadata": metadata}
        yield f"language {number}.ipynb", json.dumps(both).encode()
    for depth in (500, 100_000):
        for opened in ("[", '{"cells":', '{"cells":['):
            yield f"deep {opened[:2]} {depth}.ipynb", opened.encode() * depth
    yield "number.ipynb", b'{"cells": ' + b"9" * 10_000 + b"}"
    whole = [data for path in files if path.suffix == ".ipynb" for data in [path.read_bytes()]]
    whole.append(json.dumps({"cells": code * 3}, indent=1).encode())
    for number in range(count):
        data = bytearray(random.choice(whole))
        for _ in range(random.choice((1, 2, 20))):
            data[random.randrange(len(data))] = random.choice(b'"\\{}[],:%!?\n\x00\xff a1')
        cut = random.randrange(len(data)) if random.random() < 0.3 else len(data)
        yield f"{number}.ipynb", bytes(data[:cut])


def _one_of(files: Sequence[Path], random: Random) -> tuple[Path, bytes]:
    path = random.choice(files)
    return path, path.read_bytes()
