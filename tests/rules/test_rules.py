"""Rules as such: their documentation and their examples."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import libcst
import pytest

import bnlint
from bnlint.finding import Severity
from bnlint.rules import all_rules, find_rule
from bnlint.rules.base import Example, Rule
from bnlint.settings import Settings, SettingsError
from bnlint.testing import assert_examples

ENGINE = {"BNL901", "BNL902", "BNL903"}
"""Codes of findings that the engine makes."""
LIVE_ONLY = {rule.code for rule in all_rules() if not rule.source}
EXPECTED = re.compile(r"# expect: (BNL\d{3}(?:, BNL\d{3})*)")

rules = pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.code)
examples = pytest.mark.parametrize(
    ("rule", "example"),
    [
        pytest.param(rule, example, id=f"{rule.code}-{number}")
        for rule in all_rules()
        for number, example in enumerate((*rule.wrong, *rule.right))
    ],
)


SEVERITIES = {
    Severity.ERROR: "101 102 103 104 105 206 207 301 303 401 402 503 505 601 602 901 903",
    Severity.WARNING: "201 202 501 504 506 603",
    Severity.NOTE: "106 203 204 205 208 209 302 304 305 403 404 405 502 902",
}
LIVE_SEVERITIES = {"BNL208": Severity.WARNING, "BNL302": Severity.ERROR}
OPT_IN = {f"BNL{n}" for n in (204, 205, 208, 209, 302, 304, 305, 403, 404, 405, 501)}
ON_IN_A_RUN = {"BNL208", "BNL302", "BNL501"}
OF_A_RUN = {"BNL503", "BNL504", "BNL505", "BNL506", "BNL603"}
NEED_DATA = {"BNL301", "BNL501", "BNL504", "BNL506"}


@rules
def test_what_fails_a_run_changes_only_on_purpose(rule: Rule) -> None:
    """The severities and defaults that users build their gates on."""
    assert rule.code[3:] in SEVERITIES[rule.severity].split()
    assert rule.live_severity == LIVE_SEVERITIES.get(rule.code)
    assert rule.default is (rule.code not in OPT_IN)
    assert rule.is_default(live=True) is (rule.default or rule.code in ON_IN_A_RUN)
    assert rule.needs_data is (rule.code in NEED_DATA)
    assert rule.source is (rule.code not in OF_A_RUN)


def expected_lines(text: str) -> list[tuple[int, str]]:
    return sorted(
        (number, code)
        for number, line in enumerate(text.splitlines(), 1)
        for match in EXPECTED.finditer(line)
        for code in match[1].split(", ")
    )


def test_codes_and_names_are_unique() -> None:
    counted = Counter(word for rule in all_rules() for word in (rule.code, rule.name))
    assert set(counted.values()) == {1}


@rules
def test_a_rule_is_named_and_found(rule: Rule) -> None:
    assert re.fullmatch(r"BNL\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.name)
    assert find_rule(rule.code.lower()) is rule
    assert find_rule(rule.name.upper()) is rule
    assert rule.check.__module__.endswith(rule.code.lower()) if rule.check else rule.code in ENGINE


@rules
def test_a_rule_is_documented(rule: Rule) -> None:
    assert rule.summary.endswith(".")
    assert "\n" not in rule.summary
    assert len(rule.what) > 150, "what: a page needs more than 150 characters here"
    assert len(rule.why) > 150, "why: a page needs more than 150 characters here"
    assert rule.fine_when.startswith("- "), "fine_when is a list: every item begins with `- `"
    assert rule.references
    assert all(re.fullmatch(r".+ <https://\S+>", reference) for reference in rule.references)


@rules
def test_a_rule_has_examples(rule: Rule) -> None:
    assert len(rule.right) >= 2
    assert any(example.title.startswith("Nearly wrong: ") for example in rule.right)
    if rule.code != "BNL903":  # nothing is known that makes a rule crash
        assert len(rule.wrong) >= 2
    assert all(example.title for example in (*rule.wrong, *rule.right))


@rules
def test_wrong_examples_are_marked_and_right_ones_are_not(rule: Rule) -> None:
    for example in rule.wrong:
        assert rule.code in {code for _, code in expected_lines(example.code)}
    for example in rule.right:
        assert not expected_lines(example.code)


@examples
def test_an_example_parses(rule: Rule, example: Example) -> None:
    if rule.code == "BNL901" and example in rule.wrong:
        with pytest.raises(libcst.ParserSyntaxError):
            libcst.parse_module(example.code)
    else:
        libcst.parse_module(example.code)


@examples
def test_an_example_lints_exactly_as_expected(rule: Rule, example: Example) -> None:
    settings = Settings(extend_select=(rule.code,))
    result = bnlint.lint_source(example.code, "example.py", settings=settings)
    visible = [finding for finding in result.findings if not finding.suppressed]
    found = [(f.place.line, f.code) for f in visible if f.place is not None]
    expected = [mark for mark in expected_lines(example.code) if mark[1] not in LIVE_ONLY]
    assert sorted(found) == expected, result.findings


@pytest.mark.parametrize("code", ["BNL401", "BNL204"])
def test_examples_can_be_asserted_from_outside(code: str) -> None:
    rule = find_rule(code)
    assert rule is not None
    assert_examples(rule)
    with pytest.raises(AssertionError, match=f"{code}, right example 1 .*mark the accused lines"):
        assert_examples(replace(rule, right=rule.wrong))
    unmarked = [replace(e, code=e.code.replace("# expect", "# expct")) for e in rule.wrong]
    with pytest.raises(AssertionError, match=r"right example 1 .*accuses lines \[\d+"):
        assert_examples(replace(rule, right=tuple(unmarked)))
    with pytest.raises(ValueError, match="reads no source"):
        assert_examples(replace(rule, source=False))
    with pytest.raises(SettingsError, match="unknown rule 'EX999'"):
        assert_examples(replace(rule, code="EX999"))
