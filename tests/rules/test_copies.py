"""An example beside a copy of itself, in one file: both are found, one by one."""

from __future__ import annotations

import ast
import symtable

import pytest
from test_rules import ENGINE, LIVE_ONLY, expected_lines

import bnlint
from bnlint.finding import Finding, Role
from bnlint.rules import all_rules
from bnlint.rules.base import Example, Rule
from bnlint.settings import Settings

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.code}-{number}")
    for rule in all_rules()
    if rule.code not in ENGINE | LIVE_ONLY
    for number, example in enumerate(rule.wrong)
]


def copied(text: str) -> str:
    """The text with other names for all that its top level defines."""
    table = symtable.symtable(text, "example.py", "exec")
    named = {s.get_name() for s in table.get_symbols() if s.is_assigned() and not s.is_imported()}
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    places = set[tuple[int, int]]()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) if name in named:
                places.add((node.lineno, node.col_offset + len(name.encode())))
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if name in named:
                column = lines[node.lineno - 1].index(name.encode(), node.col_offset)
                places.add((node.lineno, column + len(name.encode())))
    for line, end in sorted(places, reverse=True):
        lines[line - 1] = lines[line - 1][:end] + b"_again" + lines[line - 1][end:]
    return b"".join(lines).decode()


def accused(finding: Finding) -> list[int]:
    """The line of a finding and, where it speaks of several layers, those of the others."""
    others = [step.place.line for step in finding.evidence if step.role is Role.INSTANCE]
    return [*others, *([] if finding.place is None else [finding.place.line])]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_an_example_and_its_copy_are_both_found(rule: Rule, example: Example) -> None:
    text = f"{example.code}\n{copied(example.code)}"
    result = bnlint.lint_source(text, "example.py", settings=Settings(select=(rule.code,)))
    found = sorted(line for finding in result.findings for line in accused(finding))
    assert found == [line for line, code in expected_lines(text) if code == rule.code], text
