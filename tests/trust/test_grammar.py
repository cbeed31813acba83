"""Generated programs with torch idioms: what must hold for each of them, whatever it says.

`BNLINT_NIGHTLY=1` tries a hundred times as many.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from grammar import as_notebook, files, programs
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as h_settings

import bnlint
from bnlint.finding import Finding, Role
from bnlint.settings import Settings
from bnlint.source.engine import open_workspace
from bnlint.source.fixing import fix

REPOSITORY = Path(__file__).parents[2]
NIGHTLY = os.environ.get("BNLINT_NIGHTLY") == "1"
SETTINGS = Settings(select=("ALL",), jobs=1)


def examples(count: int) -> h_settings:
    return h_settings(
        max_examples=100 * count if NIGHTLY else count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to shrink a program takes minutes
        derandomize=not NIGHTLY,
        database=None,
    )


def written(texts: Mapping[str, str], folder: str) -> Path:
    root = Path(folder)
    (root / "pyproject.toml").touch()
    for name, text in texts.items():
        (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return root


def linted(*paths: Path, **options: object) -> tuple[Finding, ...]:
    """What is found; nothing may crash or be refused."""
    result = bnlint.lint_paths(paths, settings=SETTINGS)
    assert not result.crashes, result.crashes[0].trace
    assert not result.errors
    refused = [f for f in result.findings if f.code == "BNL901"]
    assert not refused, refused
    return result.findings


@examples(20)
@given(texts=programs)
def test_programs_are_linted_the_same_each_time(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = written(texts, folder)
        found = linted(root)
        assert linted(root) == found
        paths = sorted(root.glob("*.py"))
        assert linted(*paths) == linted(*reversed(paths)) == found
        for path in paths:
            of_it = (finding for finding in found if speaks_of(finding, path.as_posix()))
            assert accused(linted(path)) == accused(of_it)


def accused(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """What is said where; which of several ways to a place is told may depend on the others."""
    return {(finding.code, str(finding.place)) for finding in findings}


def speaks_of(finding: Finding, path: str) -> bool:
    """Whether a finding is one of this file: by its place or by one that decides it."""
    deciding = [e.place for e in finding.evidence if e.role is not Role.CONTEXT]
    return any(place is not None and place.path == path for place in (finding.place, *deciding))


@examples(30)
@given(text=files)
def test_notebooks_of_programs_are_linted(text: str) -> None:
    result = bnlint.lint_source(as_notebook(text), "x.ipynb", settings=SETTINGS)
    assert not result.crashes, result.crashes[0].trace


@examples(30)
@given(texts=programs)
def test_a_fix_parses_and_leaves_the_rest_as_it_was(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = written(texts, folder)
        fixed = fix(open_workspace([root], SETTINGS), unsafe=True)
        for change in fixed.changes:
            before, after = (data.decode() for data in (change.before, change.after))
            kept = set(untouched(before, after))
            old = [statement for statement in meaning(before) if kept.issuperset(statement[0])]
            assert is_part([said for _, said in old], [said for _, said in meaning(after)]), (
                f"{before}\n-----\n{after}"
            )


def untouched(before: str, after: str) -> Iterator[int]:
    """The lines (from 1) of a text that stand in the other one, too."""
    import difflib

    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    for start, _, length in matcher.get_matching_blocks():
        yield from range(start + 1, start + 1 + length)


def meaning(text: str) -> list[tuple[range, str]]:
    """Every simple statement with its lines and what it is a part of, in order."""
    found: list[tuple[range, str]] = []
    pending: list[tuple[ast.AST, str]] = [(ast.parse(text), "")]
    while pending:
        node, path = pending.pop()
        inner = [
            (child, f"{path}/{type(node).__name__}.{name}")
            for name, value in ast.iter_fields(node)
            if isinstance(value, list)
            for child in value
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        ]
        if isinstance(node, ast.stmt) and not inner:
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found.append((lines, f"{path} {ast.dump(node)}"))
        pending += reversed(inner)
    return found


def is_part(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(any(said == other for other in rest) for said in part)


def test_processes_and_hash_seeds_change_nothing(tmp_path: Path) -> None:
    """A folder of programs, linted by processes that order sets in different ways, and by several
    workers."""
    texts: list[dict[str, str]] = []

    @examples(25)
    @given(program=programs)
    def collect(program: dict[str, str]) -> None:
        texts.append(program)

    collect()
    for number, program in enumerate(texts):
        (tmp_path / f"p{number}").mkdir()
        written(program, str(tmp_path / f"p{number}"))
    outputs = [said(tmp_path, seed, jobs) for seed, jobs in ((1, 1), (2, 1), (3, 2))]
    assert json.loads(outputs[0])
    assert outputs[0] == outputs[1] == outputs[2]


def said(folder: Path, seed: int, jobs: int) -> str:
    arguments = ("--select", "ALL", "--no-cache", "--output-format", "json", "--jobs", str(jobs))
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", "lint", *arguments, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3_000,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
