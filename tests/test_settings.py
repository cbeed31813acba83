"""Configuration files, and how selectors combine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnlint.finding import Severity
from bnlint.rules.base import Rule
from bnlint.settings import Settings, SettingsError, load_settings, parse_settings


def rule(code: str, name: str = "some-name", default: bool = True) -> Rule:
    return Rule(code, name, Severity.ERROR, "", "", "", "", (), (), (), default=default)


ON = rule("BNL101", "inference-without-eval")
OPT_IN = rule("BNL204", "dropout-upstream-of-batchnorm", default=False)


@pytest.mark.parametrize(
    ("settings", "on", "opt_in"),
    [
        (Settings(), True, False),
        (Settings(select=("ALL",)), True, True),
        (Settings(select=("BNL2",)), False, True),
        (Settings(select=("bnl101",)), True, False),
        (Settings(select=("inference-without-eval",)), True, False),
        (Settings(select=()), False, False),
        (Settings(extend_select=("BNL204",)), True, True),
        (Settings(ignore=("BNL1",)), False, False),
        (Settings(ignore=("ALL",)), False, False),
        (Settings(select=("ALL",), ignore=("BNL2",)), True, False),
        (Settings(select=("BNL101",), ignore=("BNL1",)), True, False),
        (Settings(select=("BNL1",), ignore=("BNL101",)), False, False),
        (Settings(select=("BNL101",), ignore=("BNL101",)), False, False),
        (Settings(select=("ALL",), extend_ignore=("dropout-upstream-of-batchnorm",)), True, False),
    ],
)
def test_the_most_specific_selector_decides(settings: Settings, on: bool, opt_in: bool) -> None:
    assert (settings.selects(ON), settings.selects(OPT_IN)) == (on, opt_in)


def test_findings_about_the_run_are_on_unless_ignored() -> None:
    crash = rule("BNL903")
    assert Settings(select=("BNL1",)).selects(crash)
    assert not Settings(ignore=("BNL903",)).selects(crash)


def test_select_on_the_command_line_forgets_the_file() -> None:
    file = Settings(select=("BNL2",), ignore=("BNL101",), extend_select=("BNL204",))
    merged = file.override(select=("BNL1",))
    assert (merged.selects(ON), merged.selects(OPT_IN)) == (True, False)


def test_extending_on_the_command_line_beats_ignoring_in_the_file() -> None:
    file = Settings(ignore=("BNL204", "BNL101"))
    merged = file.override(extend_select=("BNL2",))
    assert (merged.selects(ON), merged.selects(OPT_IN)) == (False, True)
    assert not Settings(extend_select=("BNL101",)).override(ignore=("BNL101",)).selects(ON)


def write(folder: Path, text: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(text)
    return file


def test_the_nearest_file_with_our_table_is_read(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    write(inner, "[tool.other]\nx = 1\n")
    write(
        tmp_path,
        '[tool.bnlint]\nselect = ["BNL1"]\nextend-exclude = ["gen"]\nfail-level = "note"\n'
        'jobs = 2\nroot = "src"\nprefilter = false\noutput-format = "json"\n',
    )
    settings = load_settings(inner)
    assert settings.select == ("BNL1",)
    assert settings.fail_level is Severity.NOTE
    assert (settings.root, settings.base) == (tmp_path / "src", tmp_path)
    assert (settings.jobs, settings.prefilter, settings.output_format) == (2, False, "json")
    assert load_settings(inner, isolated=True) == Settings()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("selct = []", "tool.bnlint.selct: unknown key"),
        ("select = 'BNL1'", "tool.bnlint.select: must be a list of strings"),
        ("select = [1]", "tool.bnlint.select: must be a list of strings"),
        ("ignore = ['E501']", "tool.bnlint.ignore: unknown rule 'E501'"),
        ("ignore = ['BNL777']", "tool.bnlint.ignore: unknown rule 'BNL777'"),
        ("jobs = true", "tool.bnlint.jobs: must be a whole number"),
        ("jobs = -1", "tool.bnlint.jobs: must be a whole number"),
        ("prefilter = 1", "tool.bnlint.prefilter: must be true or false"),
        ("fail-level = 'fatal'", "tool.bnlint.fail-level: must be one of note, warning, error"),
        ("base = '.'", "tool.bnlint.base: unknown key"),
        ("select = [", "is not valid TOML"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, table: str, words: str) -> None:
    file = write(tmp_path, f"[tool.bnlint]\n{table}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, tmp_path / "no.toml")


def test_a_file_of_our_own_needs_no_tool_table(tmp_path: Path) -> None:
    file = tmp_path / "bnlint.toml"
    file.write_text("jobs = 3\n")
    assert load_settings(tmp_path, file).jobs == 3


def test_every_setting_can_be_written_in_a_file() -> None:
    table = {
        "select": ["ALL"], "extend-select": [], "ignore": [], "extend-ignore": [],
        "exclude": [], "extend-exclude": [], "force-exclude": True, "root": ".", "jobs": 1,
        "prefilter": True, "fail-level": "error", "output-format": "full",
        "per-file-ignores": {"tests/*": ["BNL1"]}, "baseline": "baseline.json",
    }  # fmt: skip
    parsed = parse_settings(table, Path("/p/pyproject.toml"))
    assert parsed.force_exclude
    assert parsed.fail_level is Severity.ERROR
