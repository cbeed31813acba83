"""Suppression comments: what they say, where they hold, and how they split a group."""

from __future__ import annotations

import pytest

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.source.facts import CellStart
from bnlint.suppress import (
    FileSuppressions,
    Suppression,
    apply_suppressions,
    find_suppressions,
)

PATH = "/p/a.py"


def finding(line: int, *evidence: Evidence, code: str = "BNL101", path: str = PATH) -> Finding:
    name = "inference-without-eval"
    return Finding(code, name, Severity.ERROR, "message", Place(path, line, 5), evidence)


def marked(text: str, *findings: Finding, **files: FileSuppressions) -> list[bool]:
    comments = {PATH: FileSuppressions(find_suppressions(text)), **files}
    return [f.suppressed for f in apply_suppressions(findings, comments).findings]


@pytest.mark.parametrize(
    "comment",
    [
        "# bnlint: ignore[BNL101] measured: harmless here",
        "#bnlint:ignore[bnl101]",
        "# bnlint: ignore[BNL201, BNL101]",
        "# bnlint: ignore[inference-without-eval]",
        "# bnlint: ignore[BNL1]",
        "# bnlint: ignore",
        "# noqa",
        "#noqa",
        "# NOQA: BNL101",
        "# noqa: E501,BNL101",
        "# noqa: E501 BNL101 because",
        "# type: ignore  # noqa: BNL101",
        "# noqa : BNL101",
    ],
)
def test_comments_that_suppress(comment: str) -> None:
    assert marked(f"net(x)  {comment}\n", finding(1)) == [True]


@pytest.mark.parametrize(
    "line",
    [
        "net(x)  # bnlint: ignore[BNL102]",
        "net(x)  # bnlint: ignore[]",
        "net(x)  # noqa: E501",
        "net(x)  # noqa: because",
        "net(x)  # noqa-file",
        "net('# noqa')",
        "net('# bnlint: ignore[BNL101]')",
        "net(x)  # bnlint: ignored",
        "net(x)  # bnlint: ignore[BNL1011]",
    ],
)
def test_comments_that_do_not(line: str) -> None:
    assert marked(f"{line}\n", finding(1)) == [False]


def test_a_comment_holds_on_its_line_only() -> None:
    assert marked("a\nb  # noqa\nc\n", finding(1), finding(2), finding(3)) == [False, True, False]


def test_a_comment_on_the_first_line_holds_for_the_statement() -> None:
    text = "net(  # bnlint: ignore[BNL101]\n    x,\n    y,\n)\nnet(z)\n"
    comments = FileSuppressions(find_suppressions(text), logical_lines=((1, 4),))
    findings = [finding(line) for line in (1, 3, 4, 5)]
    applied = apply_suppressions(findings, {PATH: comments})
    assert [f.suppressed for f in applied.findings] == [True, True, True, False]
    assert {(path, comment.line) for path, comment, _ in applied.used} == {(PATH, 1)}


def test_a_file_comment_holds_for_the_file() -> None:
    text = "# bnlint: ignore-file[BNL101] generated\na\nb\n"
    assert marked(text, finding(2), finding(3, code="BNL201")) == [True, False]


def test_lines_in_a_notebook_are_those_of_the_cell() -> None:
    text = "a\nb  # noqa\nc\n"
    cells = (CellStart(0, 1), CellStart(3, 2))
    comments = FileSuppressions(find_suppressions(text), cells)
    places = [Place(PATH, 1, cell=3), Place(PATH, 2, cell=3), Place(PATH, 1, cell=0)]
    findings = [Finding("BNL101", "n", Severity.ERROR, "m", place) for place in places]
    applied = apply_suppressions(findings, {PATH: comments})
    assert [f.suppressed for f in applied.findings] == [True, False, False]


def instance(line: int) -> Evidence:
    return Evidence(Place(PATH, line), "here too", Role.INSTANCE)


def test_a_group_is_split_by_its_suppressed_instances() -> None:
    text = "a\nb  # noqa\nc\n"
    applied = apply_suppressions(
        [finding(1, instance(2), instance(3))], {PATH: FileSuppressions(find_suppressions(text))}
    )
    shown, hidden = applied.findings
    assert (shown.suppressed, hidden.suppressed) == (False, True)
    assert [e.place.line for e in shown.evidence] == [3]
    assert hidden.place is not None
    assert (hidden.place.line, hidden.evidence) == (2, ())


def test_a_group_whose_own_place_is_suppressed_moves_to_the_next() -> None:
    shown, hidden = apply_suppressions(
        [finding(1, instance(2))], {PATH: FileSuppressions(find_suppressions("a  # noqa\nb\n"))}
    ).findings
    assert shown.place is not None
    assert shown.place.line == 2
    assert hidden.suppressed


def test_a_cross_file_finding_is_suppressed_at_a_cause_but_not_at_context() -> None:
    other = {"/p/b.py": FileSuppressions((Suppression(7),))}
    cause = Evidence(Place("/p/b.py", 7), "built here", Role.CAUSE)
    context = Evidence(Place("/p/b.py", 7), "called here")
    assert marked("a\n", finding(1, cause), finding(1, context), **other) == [True, False]


def test_comments_after_syntax_that_the_tokenizer_does_not_know_still_count() -> None:
    assert marked("x = (\n'''\n'''\nnet(x)  # noqa\n", finding(4)) == [True]
    assert marked("if a:\n        b\n    c\nnet(x)  # noqa\n", finding(4)) == [True]
