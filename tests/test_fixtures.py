"""The fixtures: whole small scripts, linted together and, where they offer it, run."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bnlint
from bnlint.finding import Finding, Role, Severity
from bnlint.rules import all_rules
from bnlint.settings import Settings

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED = re.compile(r"# expect: (BNL\d{3}(?:, BNL\d{3})*)")

LIVE_ONLY = {rule.code for rule in all_rules() if not rule.source}
"""A mark with such a code is for the run of a fixture; the source half does not know the rule."""

Mark = tuple[str, int | None, int, str]
"""File below fixtures/, cell, line, code."""


def _marks(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for match in EXPECTED.finditer(line):
            for code in match[1].split(", "):
                yield number, code


def _expected(path: Path) -> Iterator[Mark]:
    name = path.relative_to(FIXTURES).as_posix()
    if path.suffix != ".ipynb":
        for line, code in _marks(path.read_text(encoding="utf-8")):
            yield name, None, line, code
        return
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            for line, code in _marks("".join(cell["source"])):
                yield name, index, line, code


def _folders() -> list[Path]:
    return [path for path in sorted(FIXTURES.iterdir()) if path.is_dir()]


def _scripts(pattern: str) -> list[Path]:
    found = (path for folder in _folders() for path in sorted(folder.glob(pattern)))
    return [path for path in found if path.suffix in (".py", ".ipynb")]


def _mark(finding: Finding) -> Mark:
    assert finding.place is not None
    path = Path(finding.place.path).resolve().relative_to(FIXTURES).as_posix()
    return path, finding.place.cell, finding.place.line, finding.code


def _settings(folder: Path) -> Settings:
    """The default rules and the folder's own."""
    return Settings(extend_select=(folder.name[:6].upper(),))


@pytest.fixture(scope="module")
def linted() -> list[Finding]:
    """The findings of all fixtures: of an opt-in rule those in its own folder."""
    optional = {rule.code for rule in all_rules() if not rule.default}
    folders = _folders()
    apart = [folder for folder in folders if folder.name[:6].upper() in optional]
    together = [folder for folder in folders if folder not in apart]
    findings = list(bnlint.lint_paths(together, settings=Settings()).findings) if together else []
    for folder in apart:
        findings += bnlint.lint_paths([folder], settings=_settings(folder)).findings
    return [finding for finding in findings if not finding.suppressed]


def test_the_fixtures_give_exactly_the_expected_findings(linted: list[Finding]) -> None:
    found = {_mark(finding) for finding in linted}
    expected = {mark for path in _scripts("*") for mark in _expected(path)}
    expected = {mark for mark in expected if mark[3] not in LIVE_ONLY}
    assert sorted(found - expected, key=str) == []
    assert sorted(expected - found, key=str) == []
    assert len(linted) == len(found)


def test_every_rule_has_fixtures_that_are_wrong_and_right() -> None:
    folders = {path.name[:6].upper(): path for path in _folders()}
    for rule in all_rules():
        if rule.code == "BNL903":  # nothing is known that makes a rule crash
            continue
        assert rule.code in folders, f"make fixtures/{rule.code.lower()}-{rule.name}"
        folder = folders[rule.code]
        assert folder.name == f"{rule.code.lower()}-{rule.name}"
        bad, good = list(folder.glob("bad*")), list(folder.glob("good*"))
        assert bad, f"{folder} needs a script bad_*.py, its accused lines `# expect: {rule.code}`"
        assert good, f"{folder} needs a script good_*.py without `# expect:`"
        for path in bad:
            assert rule.code in {code for _, _, _, code in _expected(path)}, path
        for path in good:
            assert not list(_expected(path)), path


def test_what_a_finding_says_is_complete(linted: list[Finding]) -> None:
    for finding in linted:
        if finding.code == "BNL901":
            continue
        assert finding.message[-1] not in ".!"
        assert finding.place is not None
        for step in finding.evidence:
            assert step.message
            assert step.place != finding.place or step.role is not Role.INSTANCE


RUNNABLE = [p for p in _scripts("*.py") if "\ndef build(" in p.read_text(encoding="utf-8")]


def _load(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fixture as a module of its own, its folder first on the path as for a script."""
    monkeypatch.syspath_prepend(str(path.parent))
    for sibling in path.parent.glob("*.py"):
        monkeypatch.delitem(sys.modules, sibling.stem, raising=False)
    spec = importlib.util.spec_from_file_location(f"fixture_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where a class came from is looked up by its module's name.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda p: f"{p.parent.name[:6]}-{p.stem}")
def test_both_halves_say_the_same(
    path: Path, linted: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    code = path.parent.name[:6].upper()
    module = _load(path, monkeypatch)
    built = module.build()
    model, inputs = built if isinstance(built, tuple) else (built, None)
    phase = getattr(module, "PHASE", None)
    report = bnlint.check(model, inputs, phase=phase, settings=_settings(path.parent))
    name = path.relative_to(FIXTURES).as_posix()
    live_rules = {rule.code for rule in all_rules() if rule.live}
    from_source = {f.code for f in linted if _mark(f)[0] == name} & live_rules
    marked = {mark for mark in _expected(path) if mark[3] in LIVE_ONLY}
    # Most fixtures build a new network: that its statistics are new is a fact, and no news.
    found = [f for f in report.findings if f.code in {code} | from_source or f.code != "BNL503"]
    from_run = {finding.code for finding in found}
    assert from_run == from_source | {mark[3] for mark in marked}, report.findings
    assert marked == {_mark(finding) for finding in found if finding.code in LIVE_ONLY}
    assert (code in from_run) is path.stem.startswith("bad")


REHEARSED = [p for p in _scripts("*.py") if "\ndef rehearse(" in p.read_text(encoding="utf-8")]


@pytest.mark.filterwarnings("ignore::bnlint.live.errors.BatchNormWarning")
@pytest.mark.parametrize("path", REHEARSED, ids=lambda p: f"{p.parent.name[:6]}-{p.stem}")
def test_a_watched_run_says_the_same_at_the_same_lines(
    path: Path, linted: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    code = path.parent.name[:6].upper()
    model, run = _load(path, monkeypatch).rehearse()
    with bnlint.watch(model, settings=_settings(path.parent)) as watching:
        run()
    name = path.relative_to(FIXTURES).as_posix()
    from_source = {_mark(f) for f in linted if _mark(f)[0] == name and f.code == code}
    from_run = {_mark(finding) for finding in watching.findings}
    assert from_run == from_source, watching.findings
    assert bool(from_run) is path.stem.startswith("bad")


def test_every_live_rule_is_run_on_wrong_and_right_fixtures() -> None:
    run = [*RUNNABLE, *REHEARSED]
    for rule in all_rules():
        if rule.live:
            stems = {p.stem[:3] for p in run if p.parent.name.startswith(rule.code.lower())}
            needs = "a bad_*.py and a good_*.py with build() or rehearse()"
            assert stems == {"bad", "goo"}, f"{rule.code} has live=True and needs {needs}"


def test_the_severities_of_small_batches(linted: list[Finding]) -> None:
    severities = {
        Path(_mark(finding)[0]).stem: finding.severity
        for finding in linted
        if finding.code == "BNL301" and "bnl301" in _mark(finding)[0]
    }
    assert severities == {"bad_segmentation": Severity.ERROR, "bad_tabular": Severity.NOTE}
