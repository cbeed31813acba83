"""The guide: its links lead somewhere, its options exist, its settings are valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from bnlint.cli.check import check
from bnlint.cli.lint import lint
from bnlint.rules import find_rule
from bnlint.settings import KEYS, parse_settings

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs/comparison.md",
    *sorted((ROOT / "docs/guide").glob("*.md")),
]
OPTIONS = {
    option
    for command in (lint, check)
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in parameter.opts
}
FOREIGN = {"--help", "--version"}
BENCHMARKS = {
    option
    for script in (ROOT / "benchmarks").glob("*.py")
    for option in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text(encoding="utf-8"))
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pages
def test_options_and_rules_exist(page: Path) -> None:
    if page.name == "comparison.md":
        return
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text_of(page)))
    assert named - OPTIONS - FOREIGN - BENCHMARKS == set()
    for code in re.findall(r"BNL\d{3}", text_of(page)):
        assert find_rule(code) is not None, code


@pages
def test_settings_are_valid(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", text_of(page), re.DOTALL):
        table = tomllib.loads(block).get("tool", {}).get("bnlint")
        if table is not None:
            parse_settings(table, ROOT / "pyproject.toml")


def test_every_setting_is_in_the_guide() -> None:
    text = text_of(ROOT / "docs/guide/configuration.md")
    assert [key for key in KEYS if not re.search(rf"`?\b{key}\b", text)] == []


def test_the_start_page_leads_to_every_other_page() -> None:
    text = text_of(ROOT / "docs/guide/start.md")
    assert [p.name for p in PAGES if p.parent.name == "guide" and p.name not in text] == [
        "start.md"
    ]


def test_the_python_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "train.py").write_text(
        "from torch import nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
    )
    names: dict[str, object] = {}
    for block in re.findall(
        r"```python\n(.*?)```", text_of(ROOT / "docs/guide/python.md"), re.DOTALL
    ):
        exec(block, names)
    printed = capsys.readouterr().out
    assert "BNL401" in printed
    assert printed.endswith("()\n")
