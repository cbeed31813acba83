"""`bnlint check` from the command line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from bnlint.cli import main

SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.bn(self.fc(x)).relu()


def build():
    print("chatter")
    return Net(), torch.randn(32, 6)


def clean():
    model, x = build()
    for _ in range(60):
        model(x)
    return model.eval(), x


def loading():
    model, _ = build()
    return model, torch.utils.data.DataLoader(torch.randn(64, 6), batch_size=8)


def broken():
    raise ValueError("no data\\nhere")


def leaves():
    raise SystemExit(3)


net = Net()
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(SOURCE)
    (tmp_path / "wrong.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "junk.npy").write_bytes(b"junk")
    return tmp_path


def bnlint(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def test_findings_end_in_exit_code_1(folder: Path) -> None:
    result = bnlint("nets.py:build", "--phase", "inference")
    assert result.exit_code == 1
    assert "BNL101 [error]" in result.stdout and "nets.py:" in result.stdout
    assert "chatter" not in result.stdout


def test_a_clean_model_ends_in_exit_code_0(folder: Path) -> None:
    result = bnlint("nets.py:clean", "--phase", "inference")
    assert result.exit_code == 0, result.output


def test_json(folder: Path) -> None:
    result = bnlint("nets.py:build", "--phase", "inference", "--output-format", "json")
    data = json.loads(result.stdout)
    (finding,) = data["findings"]
    assert (finding["code"], finding["path"], finding["module"]) == ("BNL101", "nets.py", "bn")
    assert data["layers"][0]["d"] > 0


def test_batches_of_a_loader(folder: Path) -> None:
    for options, batches in (((), 4), (("--batches", "2"), 2)):
        result = bnlint("nets.py:loading", "--output-format", "json", *options)
        assert json.loads(result.stdout)["output"]["batches"] == batches


def test_html_into_a_file(folder: Path) -> None:
    arguments = ("nets.py:build", "--output-format", "html", "--output-file", "report.html")
    result = bnlint(*arguments)
    assert result.exit_code == 0 and not result.stdout
    assert "<!DOCTYPE html>" in (folder / "report.html").read_text()


def test_shapes_make_a_synthetic_report(folder: Path) -> None:
    shaped = bnlint("nets.py:net", "--input", "16,6").stdout
    assert "SYNTHETIC" in shaped and "made up from" not in shaped
    assert "SYNTHETIC" in bnlint("nets.py:net").stdout


def test_input_files_are_real_data(folder: Path) -> None:
    torch.save(torch.randn(16, 6), folder / "x.pt")
    numpy.save(folder / "x.npy", numpy.zeros((16, 6), dtype=numpy.float32) + 1)
    for name in ("x.pt", "x.npy"):
        result = bnlint("nets.py:net", "--input-file", name)
        assert result.exit_code == 0 and "SYNTHETIC" not in result.stdout, result.output


def test_fail_level(folder: Path) -> None:
    (folder / "low.py").write_text(SOURCE.replace("BatchNorm1d(8)", "BatchNorm1d(8, momentum=0.9)"))
    assert bnlint("low.py:clean").exit_code == 1
    assert bnlint("low.py:clean", "--fail-level", "error").exit_code == 1


def test_weights(folder: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    state = {
        "module.fc.weight": model[0].weight,
        "module.fc.bias": model[0].bias,
        **{f"module.bn.{key}": value for key, value in model[1].state_dict().items()},
    }
    torch.save({"state_dict": state}, folder / "good.pt")
    torch.save({"other": torch.zeros(1)}, folder / "other.pt")
    assert bnlint("nets.py:net", "--weights", "good.pt", "--input", "16,6").exit_code == 0
    failed = bnlint("nets.py:net", "--weights", "other.pt", "--input", "16,6")
    assert failed.exit_code == 2 and "do not fit" in failed.stderr


WRONG = [
    ("missing.py:net", "does not exist"),
    ("nets.py", "file.py:name"),
    ("nets.py:nothing", "has no 'nothing'"),
    ("nets.py:number", "of type int: name a torch.nn.Module"),
    ("nets.py:broken", "ValueError: no data"),
    ("nets.py:leaves", "SystemExit"),
    ("wrong.py:net", "cannot import wrong.py"),
    ("package_of_no_such_name.module:net", "cannot import"),
    ("nets.py:net --input 3x6", "8,3,32,32"),
    ("nets.py:net --input float99:3,6", "8,3,32,32"),
    ("nets.py:net --input 16,5", "with --input 16,5: does that fit"),
    ("nets.py:net --input-file none.pt", "none.pt"),
    ("nets.py:net:more", "is not of the form file.py:name"),
    ("nets.py:net --input-file junk.pt", "it is damaged, or was not written by torch.save"),
    ("nets.py:net --input-file junk.pt", "junk.pt"),
    ("nets.py:net --input-file junk.npy", "junk.npy"),
    ("nets.py:net --weights junk.pt", "junk.pt"),
    ("nets.py:net --input 16,6 --input-file junk.pt", "not both"),
    ("nets.py:net --device nonsense", "device"),
    ("nets.py:net --phase testing", "phase"),
    ("nets.py:net --output-file no/such/folder/x", "cannot write"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(
    folder: Path, arguments: str, message: str
) -> None:
    result = bnlint(*arguments.split())
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


def codes(result: Result) -> list[str]:
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def test_rules_are_chosen_as_for_lint(folder: Path) -> None:
    base = ("nets.py:build", "--phase", "inference", "--output-format", "json")
    assert codes(bnlint(*base)) == ["BNL101"]
    assert codes(bnlint(*base, "--extend-select", "BNL205")) == ["BNL101", "BNL205"]
    assert codes(bnlint(*base, "--select", "redundant-bias")) == ["BNL205"]
    assert codes(bnlint(*base, "--ignore", "BNL1")) == []
    failed = bnlint(*base, "--select", "BNL777")
    assert failed.exit_code == 2 and "unknown rule 'BNL777'" in failed.stderr


CONFIGURED = """
[tool.bnlint]
extend-select = ["BNL205"]
ignore = ["BNL101"]
fail-level = "note"
"""


def test_settings_are_read_where_the_file_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text(CONFIGURED)
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    base = ("../nets.py:build", "--phase", "inference", "--output-format", "json")
    result = bnlint(*base)
    assert (codes(result), result.exit_code) == (["BNL205"], 1)
    assert bnlint(*base, "--fail-level", "warning").exit_code == 0
    assert codes(bnlint(*base, "--isolated")) == ["BNL101"]
    assert codes(bnlint(*base, "--extend-select", "BNL101")) == ["BNL101", "BNL205"]
    (folder / "own.toml").write_text('select = ["BNL101"]\n')
    assert codes(bnlint(*base, "--config", "../own.toml")) == ["BNL101"]
    (folder / "pyproject.toml").write_text("[tool.bnlint]\nextend = 1\n")
    failed = bnlint(*base)
    assert failed.exit_code == 2 and "unknown key" in failed.stderr


def test_options_of_rules_hold(folder: Path) -> None:
    (folder / "few.py").write_text(SOURCE.replace("torch.randn(32, 6)", "torch.randn(6, 6)"))
    base = ("few.py:build", "--phase", "training", "--output-format", "json")
    assert codes(bnlint(*base)) == ["BNL301"]
    (folder / "bnlint.toml").write_text("[rules.BNL301]\nsmall-batch = 4\n")
    assert codes(bnlint(*base)) == []


class Mark:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("option", ["--weights", "--input-file"])
def test_nothing_in_a_file_of_weights_is_executed(folder: Path, option: str) -> None:
    torch.save({"state_dict": {"fc.weight": Mark(folder / "executed")}}, folder / "evil.pt")
    torch.load(folder / "evil.pt", weights_only=False)
    assert (folder / "executed").exists()
    (folder / "executed").unlink()
    result = bnlint("nets.py:net", option, "evil.pt")
    assert result.exit_code == 2 and "evil.pt" in result.stderr
    assert "which is more than tensors" in result.stderr
    assert "trust" not in result.stderr
    assert not (folder / "executed").exists()


def test_an_array_of_objects_is_not_unpickled(folder: Path) -> None:
    numpy.save(folder / "evil.npy", numpy.array([Mark(folder / "executed")]), allow_pickle=True)
    result = bnlint("nets.py:net", "--input-file", "evil.npy")
    assert result.exit_code == 2 and "evil.npy" in result.stderr
    assert not (folder / "executed").exists()


def test_the_help_says_that_the_target_is_executed() -> None:
    words = " ".join(bnlint("--help").stdout.split())
    assert "It is executed: the file is imported, the callable is called" in words


def test_missing_torch_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )
    result = bnlint("nets.py:net")
    assert result.exit_code == 2
    assert 'pip install "bnlint[torch]"' in result.stderr
