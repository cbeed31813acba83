"""Patches: git takes them, whatever the lines and the names."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from bnlint.output.patch import patch

PIECES = (b"a", b"b = 1", b"", b"\xe9\xff", b"\x0c", b"-- x", b"++ y", b"\\ No newline", b" ")
ENDS = (b"\n", b"\r\n", b"\r", b"\n")


def content(random_: random.Random) -> bytes:
    lines = [random_.choice(PIECES) + random_.choice(ENDS) for _ in range(random_.randrange(1, 30))]
    return b"".join(lines) + random_.choice((b"", b"last"))


def changed(before: bytes, random_: random.Random) -> bytes:
    lines = before.splitlines(keepends=True)
    for _ in range(random_.randrange(1, 4)):
        place = random_.randrange(len(lines) + 1)
        lines[place : place + random_.randrange(2)] = [b"new" + random_.choice(ENDS)]
    return b"".join(lines)


@pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")
def test_git_makes_of_a_patch_exactly_the_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random_ = random.Random(7)
    names = [f"d{n % 3}/{'ä b' if n % 2 else 'x'}{n}.py" for n in range(120)]
    befores = [content(random_) for _ in names]
    afters = [changed(before, random_) for before in befores]
    for name, before in zip(names, befores):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(before)
    subprocess.run(["git", "init", "-q"], check=True)
    made = patch(zip(names, befores, afters))
    done = subprocess.run(["git", "apply", "--whitespace=nowarn"], input=made, capture_output=True)
    assert done.returncode == 0, done.stderr
    for name, after in zip(names, afters):
        assert (tmp_path / name).read_bytes() == after, name
