"""The linter runs nothing of what it lints, and opens only what it has to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MARK = "open(r'{mark}', 'a').write({what!r})"
FORMS = {
    "import": "{mark}",
    "decorator": "def d(f):\n    {mark}\n    return f\n\n\n@d\ndef g(): pass\n\n\ng()",
    "metaclass": "class M(type):\n    def __new__(*a):\n        {mark}\n\n\n"
    "class C(nn.Module, metaclass=M): pass",
    "class body": "class C(nn.Module):\n    {mark}",
    "subclass hook": "class B(nn.Module):\n    def __init_subclass__(cls):\n        {mark}\n\n\n"
    "class C(B): pass",
    "default": "def f(x={mark}): pass",
    "annotation": "x: {mark} = 1",
    "f-string": "x = f'{{{mark}}}'",
    "comprehension": "x = [{mark} for _ in range(3)]",
    "main": "if __name__ == '__main__':\n    {mark}",
    "forward": "class C(nn.Module):\n    def forward(self, x):\n        {mark}\n\n\nC().eval()(1)",
    "eval": "eval(\"{mark}\")\nexec(\"{mark}\")\n__import__('os').system('touch {path}')",
    "format": "x = '{{0.__class__}}'.format(1)\n{mark}",
}
NAMES = ("conftest", "setup", "sitecustomize", "usercustomize", "click", "libcst", "torch", "rich")
"""Names under which Python, pytest or the linter itself might import a file of the project."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.bnlint]\nselect = ['ALL']\n")
    mark = folder / "mark"
    head = "import torch.nn as nn\nimport codec_of_mine\n"
    for name, form in FORMS.items():
        text = form.format(mark=MARK.format(mark=mark, what=name), path=mark)
        (folder / f"{name.replace(' ', '_')}.py").write_text(f"{head}{text}\n")
    said = MARK.format(mark=mark, what="codec")
    for codec in ("codec_of_mine", "encodings"):
        (folder / f"{codec}.py").write_text(f"{said}\n")
    for name in NAMES:
        (folder / f"{name}.py").write_text(MARK.format(mark=mark, what=name) + "\n")
    (folder / "coded.py").write_text("# coding: codec_of_mine\nimport torch\n")
    cell = {"cell_type": "code", "source": f"%run import.py\n!touch {mark}\n{said}"}
    (folder / "book.ipynb").write_text(json.dumps({"cells": [cell]}))
    (folder / "wrong.py").write_text("import torch.nn as nn\nnn.BatchNorm2d(8, momentum=0.99)\n")
    return folder


def run(folder: Path, *arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    how = ("-c", code) if code is not None else ("-m", "bnlint")
    return subprocess.run(
        [sys.executable, *how, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("lint", "."),
        ("lint", "--diff", "--unsafe-fixes", "."),
        ("lint", "--fix", "--unsafe-fixes", "--no-prefilter", "."),
    ],
)
def test_nothing_that_is_linted_runs(project: Path, arguments: tuple[str, ...]) -> None:
    done = run(project, *arguments)
    assert done.returncode in (0, 1), done.stderr
    assert "codec_of_mine" in done.stdout + done.stderr or "--diff" in arguments
    assert not (project / "mark").exists(), (project / "mark").read_text()


RECORDER = """
import sys
sys.path.remove("")
import json, os
events = []
def hook(event, arguments):
    if event == "open" and arguments[0] != "<text>/":  # the name of a text, and of no file
        events.append([event, os.path.realpath(os.fsdecode(arguments[0]))
                       if isinstance(arguments[0], (str, bytes)) else "", str(arguments[1])])
    elif event.startswith(("subprocess.", "os.system", "os.exec", "os.spawn", "socket.")):
        events.append([event, "", ""])
sys.addaudithook(hook)
import bnlint
from bnlint.cli import main
try:
    main(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
print("EVENTS" + json.dumps(events))
"""


def test_only_admitted_files_are_opened(project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("import torch.nn as nn\nbn = nn.BatchNorm2d(8, 0.99)\n")
    (outside / "secret.ipynb").write_text("{}")
    (project / "linked").symlink_to(outside)
    (project / "linked.py").symlink_to(outside / "secret.py")
    (project / "linked.ipynb").symlink_to(outside / "secret.ipynb")
    (project / ".gitignore").write_text("hidden/\n")
    (project / "hidden").mkdir()
    (project / "hidden" / "hidden.py").write_text("import torch\n")
    (project / "data.json").write_text("{}")
    (project / "reads.py").write_text(
        "import sys\nsys.path.append('../outside')\nsys.path.insert(0, '/etc')\n"
        "import secret, linked, linked.secret, hidden.hidden, data\nfrom .. import outside\n"
        "import torch\ntorch.load('data.json')\nsecret.bn.eval()\nopen('data.json')\n"
    )
    done = run(project, "lint", ".", "--output-format", "json", code=RECORDER)
    assert "EVENTS" in done.stdout, done.stderr
    events = json.loads(done.stdout.rpartition("EVENTS")[2])
    assert {event for event, _, _ in events} == {"open"}
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "purelib")]
    own = [*installed, REPOSITORY.resolve(), Path(sys.prefix).resolve()]
    opened = {Path(path) for _, path, _ in events if path}
    foreign = {p for p in opened if not any(p.is_relative_to(folder) for folder in own)}
    inside = {p.relative_to(project.resolve()) for p in foreign if p.is_relative_to(project)}
    system = {p for p in foreign if not p.is_relative_to(tmp_path)}
    assert foreign - system == {project.resolve() / p for p in inside}
    assert not [p for p in system if p.suffix in (".py", ".ipynb")]
    wanted = {p.name for p in inside if p.parts[0] != ".bnlint_cache"}
    assert wanted <= {
        *(p.name for p in project.glob("*.py") if not p.is_symlink()),
        "book.ipynb",
        "pyproject.toml",
        ".gitignore",
    }
    assert "wrong.py" in wanted
    written = {Path(path) for _, path, mode in events if path and any(c in mode for c in "wax+")}
    assert not [p for p in written if not p.is_relative_to(project / ".bnlint_cache")]
