"""The committed pages of the rules are what the rules say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bnlint.output.page import rule_page
from bnlint.rules import all_rules
from bnlint.rules.base import Rule

GENERATOR = Path(__file__).parents[1] / "docs" / "generate.py"


def generated() -> tuple[Path, dict[str, str]]:
    spec = importlib.util.spec_from_file_location("docs_generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RULES, module.pages()


def test_the_committed_pages_are_up_to_date() -> None:
    folder, texts = generated()
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert committed == texts, "run: python docs/generate.py"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.code)
def test_a_page_has_every_section(rule: Rule) -> None:
    page = rule_page(rule)
    for section in ("What it does", "Why is this bad?", "When this is fine", "References"):
        assert f"\n## {section}\n" in page
    assert page.startswith(f"# {rule.code} {rule.name}\n")
    assert "# expect:" not in page
    assert page.count("```") % 2 == 0
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
