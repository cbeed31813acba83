"""Coverage-guided fuzzing of all that reads what strangers write, with atheris.

Targets: `source` and `notebook` (guard, facts, link, rules, fixes), `comments` (suppressions),
`configuration`, `ignores` (.gitignore), `baseline`, `facts` (what is kept of one file) and `cache`
(its files, sealed as bnlint seals them). An input that raises, that gives a crash, a fix after
which a file does not parse, or another result the second time ends the run; libFuzzer keeps it as
`crash-...`.

    python benchmarks/fuzz.py TARGET [FOLDER] [-max_total_time=600] [-max_len=4000] [crash-...]

FOLDER holds what reaches something new; the fixtures are its first inputs. Atheris is no dependency
of the project, since it has wheels for some systems only: `pip install atheris`.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import atheris

with atheris.instrument_imports(include=["bnlint"]):
    import bnlint.source.extract
    import bnlint.source.graph_artist
    import bnlint.source.notebook_layout
    import bnlint.source.trace_artist
    import bnlint.suppress
    from bnlint.baseline import Baseline
    from bnlint.settings import Settings, SettingsError, load_settings
    from bnlint.settings_text import to_toml
    from bnlint.source.cache import codec, pack, verdict_wire  # noqa: F401
    from bnlint.source.cache.folder import Folder
    from bnlint.source.discover import discover
    from bnlint.source.engine import lint_paths, lint_source, workspace_of_text
    from bnlint.source.fixing import fix
    from bnlint.source.result import LintResult

FIXTURES = Path(__file__).parents[1] / "fixtures"
ALL = Settings(select=("ALL",), jobs=1)
WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
FOLDER = Path(tempfile.mkdtemp(prefix="bnlint-fuzz-"))


class MistakeError(Exception):
    """Something that must not happen."""


def whole(result: LintResult) -> LintResult:
    """The result of a run in which nothing crashed."""
    if result.crashes:
        raise MistakeError(result.crashes[0].trace)
    return result


def source(data: bytes, name: str = "x.py") -> None:
    """Lint twice, fix."""
    text = data.decode("utf-8", "surrogateescape" if len(data) % 2 else "replace")
    result = whole(lint_source(text, name, settings=ALL))
    if whole(lint_source(text, name, settings=ALL)).findings != result.findings:
        raise MistakeError("a second run says otherwise")
    if any(finding.fix for finding in result.findings):
        before = {f"/{name}": text.encode("utf-8", "surrogateescape")}
        workspace = workspace_of_text(text, f"/{name}", ALL)
        for change in fix(workspace, unsafe=True, data=before).changes:
            if name.endswith(".py") and parses(change.before) and not parses(change.after):
                raise MistakeError(f"a fix that does not parse: {change.after!r}")
            if name.endswith(".ipynb"):
                json.loads(change.after)


def parses(data: bytes) -> bool:
    """Whether bytes are Python."""
    try:
        ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def notebook(data: bytes) -> None:
    """The same as a notebook."""
    source(data, "x.ipynb")


def comments(data: bytes) -> None:
    """A line with a finding and any comment, in all rules."""
    text = data.decode("utf-8", "replace")
    bnlint.suppress.find_suppressions(text)
    line = text.replace("\n", " ").replace("\r", " ")
    whole(lint_source(f"{WRONG[:-1]}  # {line}\n# {line}\n", settings=ALL))


def configuration(data: bytes) -> None:
    """Settings are refused in words, or hold; written down, they mean the same."""
    file = FOLDER / "bnlint.toml"
    file.write_bytes(data)
    try:
        settings = load_settings(FOLDER)
    except SettingsError:
        return
    to_toml(settings)
    (FOLDER / "x.py").write_text(WRONG)
    settings = replace(settings, jobs=1, root=FOLDER, cache_dir=None, baseline=None)
    whole(lint_paths([FOLDER], settings=settings))


def ignores(data: bytes) -> None:
    """Patterns of .gitignore, which bnlint and pathspec may not even warn about."""
    (FOLDER / ".git").mkdir(exist_ok=True)
    (FOLDER / "a b").mkdir(exist_ok=True)
    for name in ("x.py", "a b/y.py"):
        (FOLDER / name).write_text(WRONG)
    (FOLDER / ".gitignore").write_bytes(data)
    discover([FOLDER], ALL, FOLDER)


def baseline(data: bytes) -> None:
    """A baseline is refused in words, or marks what it has."""
    file = FOLDER / "baseline.json"
    file.write_bytes(data)
    try:
        known = Baseline.read(file)
    except SettingsError:
        return
    findings = lint_source(WRONG, settings=ALL).findings
    known.mark(findings, {"x.py"}, lambda place: WRONG.splitlines())
    known.text()


def facts(data: bytes) -> None:
    """Bytes in place of what is kept of a file."""
    outcome = codec.decode(data, "/x.py")
    if outcome is not None:
        codec.encode(outcome)


class Kept:
    """A project with the cache of a first run."""

    def __init__(self) -> None:
        self.root = FOLDER / "project"
        self.root.mkdir(exist_ok=True)
        (self.root / "pyproject.toml").touch()
        (self.root / "x.py").write_text(WRONG)
        self.settings = Settings(select=("ALL",), jobs=1, cache=True, base=self.root)
        time.sleep(2.5)  # what was written just now is not trusted yet
        lint_paths([self.root], settings=self.settings)
        (first, *_) = self.root.rglob("index")
        self.folder = Folder(first.parent.parent, first.parent)
        self.files = {path.name: path.read_bytes() for path in first.parent.iterdir()}

    def payloads(self) -> Iterator[bytes]:
        """What the files hold, each behind the number of its file."""
        for number, name in enumerate(sorted(self.files)):
            yield bytes([number]) + (self.folder.read(name) or self.files[name])

    def lint_with(self, data: bytes) -> None:
        """One file of the cache replaced and sealed; without a run's findings, which would do."""
        names = sorted(self.files)
        chosen = names[data[0] % len(names)]
        for name, content in self.files.items():
            (self.folder.path / name).write_bytes(content)
        if chosen.startswith("pack-"):
            (self.folder.path / chosen).write_bytes(data[1:])
        else:
            self.folder.write(chosen, data[1:])
        if not chosen.startswith("run-"):
            self.folder.remove(name for name in names if name.startswith("run-"))
        whole(lint_paths([self.root], settings=self.settings))


def seeds(target: str, kept: Kept | None) -> Iterator[bytes]:
    """The first inputs of a target."""
    files = sorted(FIXTURES.rglob("*.ipynb" if target == "notebook" else "*.py"))
    match target:
        case "configuration":
            yield to_toml(Settings()).encode()
            yield b'[per-file-ignores]\n"a[!b]*" = ["ALL"]\n[rules.BNL303]\n'
        case "ignores":
            yield b"*.py\n!x.py\n/a\\ b/\n[a-c]?**/x\n\\#y\n"
        case "baseline":
            yield b'{"version": 1, "findings": {"x.py": {"BNL401": {"a": 1}}}}'
        case "comments":
            yield from (b"bnlint: ignore[BNL101, x] y", b"noqa: BNL1 # bnlint: ignore-file")
        case "facts":
            for file in files[:60]:
                workspace = workspace_of_text(file.read_text(), "/x.py", ALL)
                yield codec.encode(workspace._links.outcomes["/x.py"]) or b""
        case "cache" if kept is not None:
            yield from kept.payloads()
        case _:
            yield from (file.read_bytes() for file in files)
    if target == "notebook":
        cell = {"cell_type": "code", "source": WRONG.splitlines(keepends=True)}
        yield json.dumps({"cells": [cell, {"cell_type": "markdown"}], "metadata": {}}).encode()


def main() -> None:
    """Fuzz the target that is named first."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    target = sys.argv.pop(1)
    kept = Kept() if target == "cache" else None
    targets: dict[str, Callable[[bytes], None]] = {
        each.__name__: each
        for each in (source, notebook, comments, configuration, ignores, baseline, facts)
    }
    run = kept.lint_with if kept is not None else targets[target]
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if folders and not Path(folders[0]).is_file():
        Path(folders[0]).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds(target, kept)):
            (Path(folders[0]) / f"seed-{number}").write_bytes(seed)
    warnings.simplefilter("ignore" if target in ("source", "notebook", "comments") else "error")
    atheris.Setup(sys.argv, lambda data: run(data) if data else None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
