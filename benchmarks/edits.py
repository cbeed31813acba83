"""Does a run after an edit find what a first run finds? Random edits in copies of real projects.

    python benchmarks/edits.py PROJECT... [--edits 20] [--seed 0]

Each edit changes one file: a comment, blank lines, a docstring, a class's name, a momentum, what a
package exports, a statement more, less or changed in some function, a function or a constant more,
a mode less; or adds or deletes a file. After each, the whole project and the edited file alone
are linted with the cache that earlier runs have left, and without one. One line for each project:
how many runs there were, how many were answered without linking, and which differed. Exit code 1
when any did.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import bnlint.source.engine as engine
from bnlint.finding import Finding
from bnlint.settings import Settings

Change = Callable[[str, random.Random], str]


def _comment(text: str, chance: random.Random) -> str:
    return f"{text}\n# edited {chance.random()}\n"


def _blank_lines(text: str, chance: random.Random) -> str:
    return re.sub(r"\n\n(?=(class|def) )", "\n\n\n# apart\n", text, count=1 + chance.randrange(3))


def _docstring(text: str, chance: random.Random) -> str:
    return re.sub(r'(\n\s+"""\w+)', rf"\1 {chance.randrange(9)}", text, count=1)


def _name(text: str, chance: random.Random) -> str:
    names = re.findall(r"^class (\w+)", text, re.MULTILINE)
    return (
        re.sub(rf"\b{chance.choice(names)}\b", f"Other{chance.randrange(9)}", text)
        if names
        else text
    )


def _momentum(text: str, chance: random.Random) -> str:
    return re.sub(
        r"(BatchNorm[123]d\(\w+)\)", rf"\1, momentum=0.{chance.randrange(1, 99)})", text, count=1
    )


def _exports(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    imports = [i for i, line in enumerate(lines) if re.match(r"from \.\S* import \w+\n", line)]
    if imports:
        lines.pop(chance.choice(imports))
    return "".join(lines)


def _statement(text: str, chance: random.Random) -> str:
    return f"{text}\nCHANGED = {chance.random()}\n"


ADDED = (
    "note = 1",
    "print('here')",
    "self.note = 2",
    "import math",
    "return None",
    "count += 1",
    "model.eval()",
    "self.train(False)",
    "norm = nn.BatchNorm2d(8, momentum=0.9999)",
    "x = forward(x)",
    "if training: pass",
    "torch.save(1, 2)",
)
"""Statements that may make a difference, and such that make none."""


def _lines_of_a_statement(text: str, chance: random.Random) -> tuple[int, int, str] | None:
    """A statement of some function that has its lines to itself: where it begins and ends in the
    text, and how far it is indented."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    simple = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)
    found = [s for f in functions for s in ast.walk(f) if isinstance(s, simple)]
    if not found or text.splitlines() != text.split("\n")[: len(text.splitlines())]:
        return None
    statement = chance.choice(found)
    lines = text.splitlines(keepends=True)
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    if len(indent) != statement.col_offset or not lines[last].endswith("\n"):
        return None
    return len("".join(lines[:first])), len("".join(lines[: last + 1])), indent


def _statement_less(text: str, chance: random.Random) -> str:
    found = _lines_of_a_statement(text, chance)
    return text if found is None else f"{text[: found[0]]}{found[2]}pass\n{text[found[1] :]}"


def _statement_more(text: str, chance: random.Random) -> str:
    found = _lines_of_a_statement(text, chance)
    if found is None:
        return text
    return f"{text[: found[0]]}{found[2]}{chance.choice(ADDED)}\n{text[found[0] :]}"


def _number(text: str, chance: random.Random) -> str:
    found = _lines_of_a_statement(text, chance)
    if found is None:
        return text
    first, last, _ = found
    return text[:first] + re.sub(r"(?<![\w.])\d(?![\w.])", "7", text[first:last]) + text[last:]


def _function(text: str, chance: random.Random) -> str:
    return f"{text}\n\ndef added_{chance.randrange(9)}(model):\n    return model, 1\n"


def _no_mode(text: str, chance: random.Random) -> str:
    found = list(re.finditer(r"^( +)\S+\.(eval|train)\(\)\n", text, re.MULTILINE))
    if not found:
        return text
    mode = chance.choice(found)
    return f"{text[: mode.start()]}{mode[1]}pass\n{text[mode.end() :]}"


CHANGES: dict[str, Change] = {
    "comment": _comment,
    "blank lines": _blank_lines,
    "docstring": _docstring,
    "name": _name,
    "momentum": _momentum,
    "exports": _exports,
    "statement": _statement,
    "statement less": _statement_less,
    "statement more": _statement_more,
    "number": _number,
    "function": _function,
    "no mode": _no_mode,
}


def edit(root: Path, chance: random.Random) -> tuple[str, Path]:
    """Change, add or delete one file; what was done, and where."""
    files = sorted(p for p in root.rglob("*.py") if ".bnlint_cache" not in p.parts)
    kind = chance.choice([*CHANGES, "add", "delete"])
    if kind == "exports":
        files = [p for p in files if p.name == "__init__.py"] or files
    if kind == "no mode":
        files = [p for p in files if ".eval()" in p.read_text(errors="replace")] or files
    if kind in ("momentum", "name"):
        files = [p for p in files if "BatchNorm" in p.read_text(errors="replace")] or files
    path = chance.choice(files)
    match kind:
        case "add":
            added = path.with_name(f"added_{chance.randrange(99)}.py")
            added.write_bytes(path.read_bytes())
            return kind, added
        case "delete":
            path.unlink()
        case _:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            changed = CHANGES[kind](text, chance)
            path.write_bytes(changed.encode("utf-8", "surrogateescape"))
    return kind, path


def findings(paths: list[Path], root: Path, *, cache: bool) -> tuple[Finding, ...]:
    """What all rules say."""
    settings = Settings(select=("ALL",), jobs=1, root=root, base=root, cache=cache)
    return engine.lint_paths(paths, settings=replace(settings)).findings


def compare(root: Path, edits: int, chance: random.Random) -> Iterator[tuple[str, bool, bool]]:
    """For each run its name, whether it was answered without linking, and whether it agreed."""
    findings([root], root, cache=True)
    for _ in range(edits):
        kind, path = edit(root, chance)
        time.sleep(0.01)
        for wanted in [[path]] * path.exists() + [[root]]:
            with patch.object(engine, "verdicts_of", wraps=engine.verdicts_of) as linked:
                warm = findings(wanted, root, cache=True)
            name = f"{kind} {path.relative_to(root)}{'' if wanted == [path] else ' (all)'}"
            yield name, not linked.called, warm == findings(wanted, root, cache=False)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("projects", nargs="+", type=Path)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    different = 0
    for project in options.projects:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name).resolve() / "root"
            shutil.copytree(project, root, symlinks=True)
            runs = list(compare(root, options.edits, random.Random(options.seed)))
        wrong = [name for name, _, agreed in runs if not agreed]
        different += len(wrong)
        unlinked = sum(known for _, known, _ in runs)
        print(f"{project.name}: {len(runs)} runs, {unlinked} not linked, {len(wrong)} different")
        for name in wrong:
            print(f"    {name}")
        sys.stdout.flush()
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
