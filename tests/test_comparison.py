"""docs/comparison.md: every "yes" in our column is shown here, and no row is without its proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import bnlint
from bnlint.cli import main
from bnlint.rules import GROUP
from bnlint.settings import load_settings

ROOT = Path(__file__).parents[1]
WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
NOTE = "import torch.nn as nn\nnet = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))\n"
MODELS = "import torch.nn as nn\n\nnet = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n"
EVALUATE = (
    "import torch\nfrom models import net\n\nwith torch.no_grad():\n"
    '    print(net(torch.load("x.pt")).argmax())\n'
)
FIX = ("--fix", "--unsafe-fixes")


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=text)


def wrong(text: str = WRONG, name: str = "a.py") -> Path:
    file = Path(name)
    file.write_text(text)
    return file


def notebook() -> Path:
    cells = [{"cell_type": "code", "source": WRONG, "outputs": []}]
    return wrong(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}), "n.ipynb")


def finds_in_source() -> bool:
    wrong()
    return "BNL401" in run().stdout


def finds_live() -> bool:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4, momentum=0.99))
    return any(f.code == "BNL401" for f in bnlint.check(model, torch.randn(8, 4)).findings)


def follows_files() -> bool:
    wrong(MODELS, "models.py")
    wrong(EVALUATE, "evaluate.py")
    return "evaluate.py:5:11: BNL101" in run("evaluate.py").stdout


def shows_proof() -> bool:
    wrong(MODELS, "models.py")
    wrong(EVALUATE, "evaluate.py")
    return "= because: models.py:3" in run("evaluate.py").stdout


def lints_notebooks() -> bool:
    notebook()
    return "n.ipynb:cell 0:3:6: BNL401" in run().stdout


def fixes() -> bool:
    file = wrong()
    run(*FIX)
    return "0.01" in file.read_text()


def tells_safe() -> bool:
    file = wrong(WRONG + "x = 1  # bnlint: ignore[BNL401]\n")
    run("--fix")
    return file.read_text() == WRONG + "x = 1\n"


def fixes_notebooks() -> bool:
    file = notebook()
    run(*FIX)
    return "0.01" in file.read_text()


def prints_patch() -> bool:
    wrong()
    return run("--diff", "--unsafe-fixes").stdout.startswith("diff --git a/a.py b/a.py\n")


def fixes_stdin() -> bool:
    return run("-", *FIX, text=WRONG).stdout == WRONG.replace("0.99", "0.01")


def reads_stdin() -> bool:
    return "<stdin>:3:6: BNL401" in run("-", text=WRONG).stdout


def as_json(*arguments: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(*arguments, "--output-format", "json").stdout)
    return found


def has_fix_data() -> bool:
    wrong()
    return bool(as_json()[0]["fix"]["edits"])  # type: ignore[index]


def has_severities() -> bool:
    wrong(WRONG + NOTE)
    return {finding["severity"] for finding in as_json()} == {"error", "note"}


def exits_by_severity() -> bool:
    wrong(NOTE)
    return (run().exit_code, run("--fail-level", "note").exit_code) == (0, 1)


def suppresses() -> bool:
    line = WRONG.replace("\n\nbn", "\n\nbn").rstrip() + "  # bnlint: ignore[BNL401]\n"
    statement = WRONG.replace("(8,", "(  # bnlint: ignore[BNL401]\n    8,")
    whole = "# bnlint: ignore-file[BNL401]\n" + WRONG
    for text in (line, statement, whole):
        wrong(text)
        if run().exit_code:
            return False
    return True


def keeps_reason() -> bool:
    wrong(WRONG.rstrip() + "  # bnlint: ignore[BNL401] one batch\n")
    return as_json()[0]["suppression"] == {"kind": "comment", "reason": "one batch"}


def reports_unused() -> bool:
    wrong("x = 1  # bnlint: ignore[BNL401]\n")
    return "BNL902" in run().stdout


def writes_suppressions() -> bool:
    wrong()
    return run("--add-ignores").exit_code == 0 and run().exit_code == 0


def has_baseline() -> bool:
    wrong()
    run("--write-baseline", "b.json")
    return run("--baseline", "b.json").exit_code == 0


def reads_pyproject() -> bool:
    Path("pyproject.toml").write_text("[tool.bnlint]\njobs = 3\n")
    return load_settings(Path.cwd()).jobs == 3


def has_schema() -> bool:
    return resources.files("bnlint").joinpath("settings.schema.json").is_file()


def ignores_per_file() -> bool:
    wrong()
    Path("pyproject.toml").write_text('[tool.bnlint.per-file-ignores]\n"a.py" = ["BNL4"]\n')
    return run().exit_code == 0


def guesses() -> bool:
    return "did you mean keras-momentum?" in run("--select", "keras-momentun").stderr


def in_format(name: str, piece: str) -> Callable[[], bool]:
    def shown() -> bool:
        wrong()
        return piece in run("--output-format", name).stdout

    return shown


def counts() -> bool:
    wrong()
    return run("--statistics").stdout == "1  BNL401  keras-momentum\n"


def explains() -> bool:
    return CliRunner().invoke(main, ["rule", "BNL401"]).stdout.startswith("# BNL401 ")


def speaks_to_editors() -> bool:
    asked = {"processId": None, "rootUri": None, "capabilities": {}}
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": asked})
    header = f"Content-Length: {len(text)}\r\n\r\n"
    end = json.dumps({"jsonrpc": "2.0", "method": "exit"})
    told = f"{header}{text}Content-Length: {len(end)}\r\n\r\n{end}"
    return '"codeActionProvider"' in in_process("bnlint", "server", text=told)


def is_a_flake8_plugin() -> bool:
    file = wrong()
    Path(".flake8").write_text(
        f"[flake8:local-plugins]\nextension =\n  BNX = bnlint.flake8:Plugin\npaths = {ROOT}\n"
    )
    return "a.py:3:6: BNL401" in in_process("flake8", "--select", "BNL", str(file))


def has_hooks() -> bool:
    wrong(WRONG + "x = 1  # bnlint: ignore[BNL402]\n")
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    for hook in hooks:
        program, command, *arguments = hook["entry"].split()
        if (program, command) != ("bnlint", "lint") or run(*arguments, "a.py").exit_code != 1:
            return False
    return Path("a.py").read_text().endswith("x = 1\n")


def takes_own_rules() -> bool:
    """The rule of docs/example_rules, through its entry point."""
    example = ROOT / "docs/example_rules"
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    about = Path("site/house_rules-1.dist-info")
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: house-rules\nVersion: 1\n")
    points = project["entry-points"][GROUP]
    lines = [f"{name} = {target}" for name, target in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    path = os.pathsep.join([str(example), str(about.parent.resolve())])
    return all(name in in_process("bnlint", "rule", "--all", path=path) for name in points)


def in_process(module: str, *arguments: str, text: str = "", path: str = "") -> str:
    places = os.pathsep.join([str(ROOT), *([path] if path else [])])
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        input=text, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip
    return done.stdout


def uses_processes() -> bool:
    for number in range(30):
        wrong(name=f"m{number}.py")
    return run("--jobs", "2").stdout.count("BNL401") == 30


PROOFS: dict[str, Callable[[], bool]] = {
    "finds BatchNorm mistakes in source code": finds_in_source,
    "finds BatchNorm mistakes on a live model": finds_live,
    "follows code across files": follows_files,
    "shows the proof step by step": shows_proof,
    "lints notebooks": lints_notebooks,
    "fixes mistakes": fixes,
    "tells safe fixes from unsafe ones": tells_safe,
    "fixes notebooks": fixes_notebooks,
    "prints fixes as a patch": prints_patch,
    "fixes standard input": fixes_stdin,
    "reads standard input": reads_stdin,
    "fix data in the JSON output": has_fix_data,
    "severities": has_severities,
    "exit code by severity": exits_by_severity,
    "suppression by line, statement and file": suppresses,
    "keeps the reason of a suppression in its output": keeps_reason,
    "reports unused suppressions": reports_unused,
    "writes suppressions for what is there": writes_suppressions,
    "baseline": has_baseline,
    "settings in pyproject.toml": reads_pyproject,
    "JSON Schema of the settings": has_schema,
    "rules ignored per file": ignores_per_file,
    "did-you-mean for settings and rules": guesses,
    "JSON output": in_format("json", '"code": "BNL401"'),
    "SARIF output": in_format("sarif", '"version": "2.1.0"'),
    "GitHub annotations": in_format("github", "::error file=a.py,line=3"),
    "GitLab code quality": in_format("gitlab", '"check_name": "BNL401"'),
    "JUnit XML": in_format("junit", "<testsuites "),
    "counts for each rule": counts,
    "explains a rule in the terminal": explains,
    "language server": speaks_to_editors,
    "flake8 plugin": is_a_flake8_plugin,
    "pre-commit hook": has_hooks,
    "own rules": takes_own_rules,
    "several processes": uses_processes,
}


def rows() -> dict[str, str]:
    text = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {feature.strip(): ours.strip() for feature, ours in cells[1:]}


def test_every_row_has_a_proof() -> None:
    assert list(rows()) == list(PROOFS)


@pytest.mark.parametrize("feature", PROOFS)
def test_what_the_table_says_of_us(
    feature: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert PROOFS[feature]() is (rows()[feature] == "yes")
