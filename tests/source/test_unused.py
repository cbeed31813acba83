"""Comments that suppress nothing: which are reported, and what is left when they are removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

import bnlint
from bnlint.settings import Settings
from bnlint.source.engine import workspace_of_text
from bnlint.source.fixing import fix

HEAD = "import torch.nn as nn\n"
RIGHT = "bn = nn.BatchNorm2d(8)"
WRONG = "bn = nn.BatchNorm2d(8, momentum=0.99)"


def unused(text: str, settings: Settings | None = None, path: str = "x.py") -> list[str]:
    found = bnlint.lint_source(text, path, settings=settings).findings
    return [f.message for f in found if f.code == "BNL902" and not f.suppressed]


def cleaned(text: str, settings: Settings | None = None) -> str:
    fixed = fix(
        workspace_of_text(text, "x.py", settings or Settings()), data={"x.py": text.encode()}
    )
    return fixed.changes[0].after.decode() if fixed.changes else text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{RIGHT}  # bnlint: ignore[BNL401] because", RIGHT),
        (f"{RIGHT}  # bnlint: ignore[BNL401, BNL402]", RIGHT),
        (f"{RIGHT}  # bnlint: ignore[keras-momentum]", RIGHT),
        (f"{RIGHT}  # bnlint: ignore[BNL999] gone", RIGHT),
        (f"{RIGHT}  # bnlint: ignore", RIGHT),
        (f"{RIGHT}  # type: ignore  # bnlint: ignore[BNL401] x", f"{RIGHT}  # type: ignore"),
        (f"{RIGHT}  # bnlint: ignore[BNL401] x  # type: ignore", f"{RIGHT}  # type: ignore"),
        (f"{RIGHT}  # bnlint: ignore[BNL401] see #12", RIGHT),
        (f"{RIGHT}  # why # bnlint: ignore[BNL401]", f"{RIGHT}  # why"),
        (f"{RIGHT}  # noqa: BNL401", RIGHT),
        (f"{RIGHT}  # noqa: BNL401 because", RIGHT),
        (f"{RIGHT}  # noqa: E501, BNL401", f"{RIGHT}  # noqa: E501"),
        (f"{RIGHT}  # noqa: BNL401 E501 why", f"{RIGHT}  # noqa: E501 why"),
        (
            f"{WRONG}  # bnlint: ignore[BNL402, bnl401] mine",
            f"{WRONG}  # bnlint: ignore[bnl401] mine",
        ),
        (f"# bnlint: ignore-file[BNL401] old\n{RIGHT}", RIGHT),
        (f"{RIGHT}\n    # bnlint: ignore[BNL401]\n", f"{RIGHT}\n"),
        (f"{RIGHT}\n# bnlint: ignore[BNL401]", f"{RIGHT}\n"),
    ],
)
def test_what_is_of_no_use_is_removed(before: str, after: str) -> None:
    assert len(unused(HEAD + before)) == 1
    assert cleaned(HEAD + before) == HEAD + after
    assert not unused(HEAD + after)


@pytest.mark.parametrize(
    "text",
    [
        f"{WRONG}  # bnlint: ignore[BNL401]",
        f"{WRONG}  # bnlint: ignore[BNL4]",
        f"{WRONG}  # bnlint: ignore",
        f"{WRONG}  # noqa: BNL401",
        f"# bnlint: ignore-file[BNL401]\n{WRONG}  # bnlint: ignore[BNL401]",
        f"{RIGHT}  # noqa",
        f"{RIGHT}  # noqa: E501",
        f"{RIGHT}  # bnlint: ignore[BNL205] opt-in",
        f"{RIGHT}  # bnlint: ignore[BNL503] of the live check alone",
        f"{RIGHT}  # bnlint: ignore[BNL5] some of them are",
        f"{RIGHT}  # bnlint: ignore[BNL401, BNL902] for another version",
        f"{RIGHT}  # bnlint: ignore[BNL903]",
        'text = "# bnlint: ignore[BNL401]"',
        "def f(:  # bnlint: ignore[BNL401] was not read",
    ],
)
def test_what_is_of_use_or_not_ours_to_judge_stays(text: str) -> None:
    assert not unused(HEAD + text)
    assert cleaned(HEAD + text) == HEAD + text


def test_a_bracket_that_is_not_closed_excuses_what_it_names() -> None:
    text = f"{HEAD}{WRONG}  # bnlint: ignore[BNL402, BNL401 oops\n"
    (message,) = unused(text)
    assert message.endswith("BNL402 and oops here (oops: no such rule)")
    found = bnlint.lint_source(text).findings
    assert [f.code for f in found if f.suppressed] == ["BNL401"]
    other = bnlint.lint_source(text.replace("401", "101")).findings
    assert not any(f.suppressed for f in other)


def test_only_rules_that_ran_count() -> None:
    text = f"{HEAD}{RIGHT}  # bnlint: ignore[BNL401]"
    assert unused(text)
    assert not unused(text, Settings(ignore=("BNL401",)))
    assert not unused(text, Settings(select=("BNL1", "BNL902")))
    assert not unused(text, Settings(ignore=("BNL902",)))
    assert unused(f"{HEAD}{RIGHT}  # bnlint: ignore[BNL205]", Settings(select=("ALL",)))


def test_a_rule_that_crashed_says_nothing_about_its_comments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bnlint.source import verdicts

    def crash(pictures: object) -> list[object]:
        raise RuntimeError("no")

    known = verdicts.all_rules()
    broken = tuple(replace(r, check=crash) if r.code == "BNL401" else r for r in known)
    monkeypatch.setattr(verdicts, "all_rules", lambda: broken)
    found = bnlint.lint_source(f"{HEAD}{RIGHT}  # bnlint: ignore[BNL401]").findings
    assert {finding.code for finding in found} == {"BNL903"}


def test_the_message_says_what_is_unused() -> None:
    (said,) = unused(f"{HEAD}{WRONG}  # bnlint: ignore[BNL401, BNL402, BNL999]")
    assert said == (
        "the comment `ignore` suppresses no finding of BNL402 and BNL999 here "
        "(BNL999: no such rule)"
    )


def test_the_message_writes_names_as_the_comment_does() -> None:
    (said,) = unused(f"{HEAD}{RIGHT}  # bnlint: ignore[keras-momentum]")
    assert said == "the comment `ignore` suppresses no finding of keras-momentum here"


def test_lines_of_a_notebook_are_those_of_the_cell() -> None:
    import json

    source = [HEAD, "\n", f"{RIGHT}  # bnlint: ignore[BNL401]\n", "x = 1"]
    cells = [{"cell_type": "code", "source": "y = 1"}, {"cell_type": "code", "source": source}]
    document = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, indent=1)
    (finding,) = bnlint.lint_source(document, "n.ipynb").findings
    assert finding.place is not None
    assert (finding.place.cell, finding.place.line) == (1, 3)
    workspace = workspace_of_text(document, "n.ipynb", Settings())
    (change,) = fix(workspace, data={"n.ipynb": document.encode()}).changes
    fixed = json.loads(change.after)["cells"][1]["source"]
    assert fixed == [HEAD, "\n", f"{RIGHT}\n", "x = 1"]


def test_reasons_are_kept() -> None:
    text = (
        f"{HEAD}{WRONG}  # bnlint: ignore[BNL401]  as in #12, measured  # type: ignore\n"
        f"{WRONG}  # noqa: E501, BNL401 two words\n{WRONG}  # bnlint: ignore\n"
        f"{WRONG}  # bnlint: ignore[BNL401]: behind a colon\n"
    )
    found = bnlint.lint_source(text).findings
    assert all(finding.suppressed for finding in found)
    assert [finding.reason for finding in found] == [
        "as in #12, measured", "two words", "", "behind a colon"
    ]  # fmt: skip


def test_a_misspelt_rule_is_guessed_and_its_comment_left_to_its_author() -> None:
    text = f"{HEAD}{RIGHT}  # bnlint: ignore[keras-momentun] one batch is an epoch"
    (message,) = unused(text)
    assert "(keras-momentun: no such rule (did you mean keras-momentum?))" in message
    assert cleaned(text) == text
