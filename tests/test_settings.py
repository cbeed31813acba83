"""Configuration files, and how selectors combine."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bnlint.finding import Severity
from bnlint.rules.base import Rule
from bnlint.settings import KEYS, Settings, SettingsError, load_settings, parse_settings
from bnlint.settings_text import schema, schema_text, to_toml


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


def test_findings_about_the_run_are_on_and_crashes_never_off() -> None:
    crash, syntax = rule("BNL903"), rule("BNL901")
    assert Settings(select=("BNL1",)).selects(crash)
    assert Settings(ignore=("BNL903",)).selects(crash)
    assert Settings(select=("BNL1",)).selects(syntax)
    assert not Settings(ignore=("BNL901",)).selects(syntax)


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
    (tmp_path / "src").mkdir()
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
        ("selct = []", "tool.bnlint.selct: unknown key (did you mean select?)"),
        ("extend_ignore = []", "unknown key (did you mean extend-ignore?)"),
        ("ignore = ['keras-momentun']", "unknown rule 'keras-momentun' (did you mean keras-moment"),
        ("per-file-ignores = []", "tool.bnlint.per-file-ignores: must be a table"),
        ("per-file-ignores = {a = 'BNL1'}", "per-file-ignores.a: must be a list of strings"),
        ("per-file-ignores = {a = ['BNL7']}", "per-file-ignores.a: unknown rule 'BNL7'"),
        ("baseline = 1", "tool.bnlint.baseline: must be a string"),
        ("extra-batchnorm = ['my norm']", "tool.bnlint.extra-batchnorm: must be names"),
        ("training-functions = 'fit'", "training-functions: must be a list of strings"),
        ("rules = 1", "tool.bnlint.rules: must be a table of rules"),
        ("rules = {BNL777 = {}}", "tool.bnlint.rules.BNL777: unknown rule"),
        ("rules = {BNL301 = 1}", "tool.bnlint.rules.BNL301: must be a table of options"),
        ("rules = {BNL301 = {small = 1}}", "rules.BNL301.small: unknown option of BNL301"),
        ("rules = {BNL101 = {x = 1}}", "rules.BNL101.x: unknown option of BNL101: it has none"),
        ("rules = {BNL301 = {small-batch = 0}}", "small-batch: must be a whole number, 1 or more"),
        ("rules = {BNL301 = {small-batch = 'a'}}", "must be a whole number, 1 or more, not 'a'"),
        ("source = 'x'", "tool.bnlint.source: unknown key"),
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


def test_a_given_root_stands_in_place_of_a_wrong_one(tmp_path: Path) -> None:
    write(tmp_path, "[tool.bnlint]\nroot = 'gone'\n")
    with pytest.raises(SettingsError, match="no such folder"):
        load_settings(tmp_path)
    assert load_settings(tmp_path, root=tmp_path).root == tmp_path


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, tmp_path / "no.toml")


def test_a_file_of_our_own_needs_no_tool_table(tmp_path: Path) -> None:
    file = tmp_path / "bnlint.toml"
    file.write_text("jobs = 3\n")
    assert load_settings(tmp_path, file).jobs == 3


def test_bnlint_toml_comes_before_pyproject_toml(tmp_path: Path) -> None:
    write(tmp_path, "[tool.bnlint]\njobs = 1\n")
    (tmp_path / "bnlint.toml").write_text("jobs = 2\n")
    settings = load_settings(tmp_path)
    assert (settings.jobs, settings.source) == (2, tmp_path / "bnlint.toml")


TABLE = {
    "select": ["ALL"], "extend-select": [], "ignore": ["BNL2", "keras-momentum"],
    "extend-ignore": [], "exclude": ["a b"], "extend-exclude": [], "force-exclude": True,
    "root": "/p", "cache-dir": "/p/.cache", "jobs": 1, "prefilter": True,
    "fail-level": "error", "output-format": "full",
    "per-file-ignores": {"tests/\"x\"*": ["BNL1"]}, "baseline": "/p/baseline.json",
    "extra-batchnorm": ["inplace_abn.InPlaceABN"], "extra-activations": ["mish"],
    "evaluating-factories": ["load_model"], "training-functions": ["engine.fit"],
    "rules": {"BNL301": {"small-batch": 4}},
}  # fmt: skip


def test_every_setting_can_be_written_in_a_file_and_shown_as_one() -> None:
    assert set(TABLE) == set(KEYS)
    parsed = parse_settings(TABLE, Path("/p/pyproject.toml"))
    assert parsed.force_exclude
    assert parsed.fail_level is Severity.ERROR
    assert parsed.rules == {"BNL301": {"small-batch": 4}}
    shown = tomllib.loads(to_toml(parsed))["tool"]["bnlint"]
    assert shown == TABLE
    assert parse_settings(shown, Path("/p/pyproject.toml")) == parsed
    assert tomllib.loads(to_toml(Settings()))["tool"]["bnlint"]["jobs"] == 0


def test_the_committed_schema_is_up_to_date() -> None:
    file = resources.files("bnlint").joinpath("settings.schema.json")
    assert file.read_text(encoding="utf-8") == schema_text(), "run: python docs/generate.py"
    jsonschema.Draft7Validator.check_schema(schema())


@pytest.mark.parametrize("key", KEYS)
def test_the_schema_takes_what_the_code_takes(key: str) -> None:
    jsonschema.validate({key: TABLE[key]}, schema())
    parse_settings({key: TABLE[key]}, Path("/p/pyproject.toml"))


WRONG = [
    {"selct": []},
    {"base": "."},
    {"select": "BNL1"},
    {"ignore": ["E501"]},
    {"ignore": ["BNL777"]},
    {"jobs": -1},
    {"jobs": True},
    {"prefilter": 1},
    {"fail-level": "fatal"},
    {"output-format": "yaml"},
    {"per-file-ignores": {"a": ["BNL7"]}},
    {"extra-batchnorm": ["my norm"]},
    {"rules": {"BNL777": {}}},
    {"rules": {"BNL301": {"small": 1}}},
    {"rules": {"BNL301": {"small-batch": 0}}},
]


@pytest.mark.parametrize("table", WRONG, ids=str)
def test_the_schema_refuses_what_the_code_refuses(table: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, schema())
    with pytest.raises(SettingsError):
        parse_settings(table, Path("/p/pyproject.toml"))


@pytest.mark.parametrize("selector", ["BNL", "BNL1", "BNL10", "BNL101", "keras-momentum", "ALL"])
def test_selectors_in_the_schema(selector: str) -> None:
    jsonschema.validate({"select": [selector]}, schema())
    parse_settings({"select": [selector]}, Path("/p/pyproject.toml"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ignore": ["BNL999"]}, "Settings: ignore: unknown rule 'BNL999'"),
        ({"select": "BNL101"}, "Settings: select: must be a list of strings, not 'BNL101'"),
        ({"exclude": [1]}, "Settings: exclude: must be a list of strings"),
        ({"fail_level": "eror"}, "Settings: fail_level: must be one of note, warning, error"),
        ({"output_format": "yaml"}, "Settings: output_format: must be one of full"),
    ],
)
def test_settings_written_by_hand_are_checked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings(**given)


def test_settings_written_by_hand_may_be_lists_and_words() -> None:
    settings = Settings(ignore=["BNL101"], fail_level="error")  # type: ignore[arg-type]
    assert settings == Settings(ignore=("BNL101",), fail_level=Severity.ERROR)


@pytest.mark.parametrize("settings", [{"ignore": ["BNL101"]}, "x", 3, True])
@pytest.mark.parametrize("entry", ["lint_paths", "lint_source", "check", "watch"])
def test_what_is_no_settings_is_refused(entry: str, settings: object) -> None:
    from torch import nn

    import bnlint

    given = {"lint_paths": "x.py", "lint_source": "x = 1\n"}.get(entry, nn.BatchNorm1d(4))
    with pytest.raises(SettingsError, match=r"must be a bnlint\.Settings.*bnlint\.Settings\("):
        getattr(bnlint, entry)(given, settings=settings)
