"""The cache: it makes a run quick, and never changes what the run finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as h_settings
from hypothesis import strategies as st

import bnlint.source.draw
import bnlint.source.engine as engine
import bnlint.source.verdicts as verdicts
from bnlint import flake8
from bnlint.settings import Settings
from bnlint.source import reader
from bnlint.source.cache import contents, folder, pack
from bnlint.source.living import LivingProject
from bnlint.source.outcome import Outcome
from bnlint.source.result import LintResult

BATCHNORM = "import torch.nn as nn\n\nnorm = nn.BatchNorm2d(64, momentum=0.99)\n"
MODEL = """import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8))
        self.norm = nn.BatchNorm2d(8, momentum=0.99)

    def forward(self, x):
        return self.norm(self.layers(x))
"""
SCRIPT = """import torch
from model import Net

net = Net()
net.load_state_dict(torch.load("w.pt"))
with torch.no_grad():
    print(net(torch.load("x.pt")).argmax(1))
"""
FAR_BACK = 1_600_000_000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text("[tool.bnlint]\n")
    write(root / "model.py", MODEL)
    write(root / "infer.py", SCRIPT)
    write(root / "unrelated.py", "x = 1\n")
    return root


def write(path: Path, text: str) -> None:
    """Write a file long ago, so that its times can be trusted."""
    path.write_text(text)
    os.utime(path, (FAR_BACK, FAR_BACK))


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    """Let a file's times count from the moment on in which it was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_SETTLED", -1)
        yield


def lint(root: Path, **settings: Any) -> LintResult:
    chosen = Settings(base=root, cache=True, jobs=1)
    return engine.lint_paths(root, settings=replace(chosen, **settings))


def fresh(root: Path, **settings: Any) -> LintResult:
    return lint(root, cache=False, **settings)


@pytest.fixture
def nothing_is_linked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object) -> None:
        raise AssertionError("the project was linked")

    def forbid() -> None:
        monkeypatch.setattr(verdicts, "verdicts_of", refuse)
        monkeypatch.setattr(engine, "verdicts_of", refuse)

    return forbid


def kept_files(root: Path) -> list[Path]:
    return [
        p for p in (root / ".bnlint_cache").rglob("*") if p.is_file() and p.parent.name[0] == "v"
    ]


def test_nothing_changed_is_told_without_linking(project: Path, nothing_is_linked) -> None:
    cold = lint(project)
    assert {f.code for f in cold.findings} >= {"BNL101", "BNL201", "BNL401"}
    assert cold == fresh(project)
    nothing_is_linked()
    assert lint(project) == cold


@pytest.mark.parametrize(
    "choice",
    [
        {"select": ("ALL",)},
        {"ignore": ("BNL4",)},
        {"extend_select": ("BNL205",)},
        {"per_file_ignores": (("model.py", ("BNL2",)),)},
        {"select": ("BNL101",)},
    ],
    ids=str,
)
def test_another_choice_of_rules_needs_no_link(
    project: Path, choice: dict[str, Any], nothing_is_linked
) -> None:
    lint(project)
    expected = fresh(project, **choice)
    nothing_is_linked()
    assert lint(project, **choice) == expected
    assert lint(project, **choice) == expected


def test_what_links_differently_is_linked_again(project: Path) -> None:
    write(project / "model.py", MODEL.replace("nn.BatchNorm2d(8)", "Norm(8)"))
    before = lint(project)
    named = {"extra_batchnorm": ("Norm",)}
    assert lint(project, **named) == fresh(project, **named)
    assert lint(project) == before


@pytest.mark.parametrize("name", ["model.py", "infer.py"])
def test_an_edit_is_noticed_even_when_size_and_time_stay(project: Path, name: str) -> None:
    before = lint(project)
    path = project / name
    text = path.read_text().replace("0.99", "0.01").replace("no_grad", "no_gras")
    write(path, text)
    assert os.stat(path).st_mtime == FAR_BACK
    after = lint(project)
    assert after == fresh(project)
    assert after != before


def test_a_write_in_the_same_tick_is_noticed(project: Path, monkeypatch) -> None:
    """Where the file system's clock is coarse, both writes leave the same times."""
    monkeypatch.setattr(contents, "_SETTLED", 2_000_000_000)
    actual = contents.state_of

    def coarse(path: str) -> tuple[int, int, int, int]:
        _, changed, size, inode = actual(path)
        tick = changed // 10**12 * 10**12
        return tick, tick, size, inode

    monkeypatch.setattr(contents, "state_of", coarse)
    monkeypatch.setattr(contents.time, "time_ns", lambda: coarse(str(project))[0])
    before = lint(project)
    write(project / "model.py", MODEL.replace("0.99", "0.01"))
    after = lint(project)
    monkeypatch.undo()
    assert after == fresh(project) != before


def test_a_file_that_no_rule_reads_may_change(project: Path, nothing_is_linked) -> None:
    before = lint(project)
    write(project / "unrelated.py", "x = 2\n")
    nothing_is_linked()
    assert lint(project) == before


def test_a_new_file_can_change_what_an_import_means(project: Path) -> None:
    before = lint(project)
    write(project / "torch.py", "def no_grad(): ...\ndef load(name): ...\n")
    after = lint(project)
    assert after == fresh(project)
    assert after.findings != before.findings
    (project / "torch.py").unlink()
    assert lint(project) == before


def test_a_touched_file_is_not_parsed_again(project: Path, monkeypatch) -> None:
    before = lint(project)
    os.utime(project / "model.py")
    monkeypatch.setattr("bnlint.source.reader.read_file", lambda path: pytest.fail(path))
    monkeypatch.setattr("bnlint.source.reading.read_file", lambda path: pytest.fail(path))
    assert lint(project) == before


def test_one_changed_file_is_the_only_one_that_is_parsed(project: Path, monkeypatch) -> None:
    lint(project)
    parsed: list[str] = []
    read = reader.read_bytes

    def noted(path: str, data: bytes) -> Outcome:
        parsed.append(Path(path).name)
        return read(path, data)

    monkeypatch.setattr(reader, "read_bytes", noted)
    write(project / "infer.py", SCRIPT + "x = 1\n")
    lint(project)
    assert parsed == ["infer.py"]


def spoilt(data: bytes) -> Iterator[bytes]:
    yield b""
    yield data[: len(data) // 2]
    yield data + b"x"
    for at in (0, 8, 20, len(data) // 2, len(data) - 1):
        yield data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    yield os.urandom(len(data))
    yield b"\xff" * len(data)


def test_no_spoilt_file_changes_what_is_found(project: Path) -> None:
    expected = lint(project)
    files = {path: path.read_bytes() for path in kept_files(project)}
    assert len(files) == 4
    for path, data in files.items():
        for wrong in spoilt(data):
            for other, content in files.items():
                other.write_bytes(content)
            for run in project.rglob("run-*"):
                run.unlink()
            path.write_bytes(wrong)
            assert lint(project) == expected


def test_well_sealed_nonsense_does_no_harm(project: Path) -> None:
    """Whoever can write to the cache can seal what he writes; it is still only data."""
    import msgspec

    expected = lint(project)
    (path,) = {path.parent for path in kept_files(project)}
    home = folder.Folder(path.parent, path)
    hostile: list[object] = [None, 1, [], {}, [[]] * 9, {"a": [1, 2, 3, 4, "x"]}, "x" * 100]
    nested: object = []
    for _ in range(100_000):
        nested = [nested]
    encoded = [msgspec.msgpack.encode(value) for value in hostile] + [b"\x91" * 100_000]
    for name in [file.name for file in kept_files(project)]:
        for data in encoded:
            home.write(name, data)
            assert lint(project) == expected


@pytest.mark.parametrize("where", ["link", "file", "full"])
def test_a_cache_that_cannot_be_written_costs_only_time(
    project: Path, tmp_path: Path, where: str, monkeypatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if where == "link":
        (project / ".bnlint_cache").symlink_to(elsewhere)
    elif where == "file":
        (project / ".bnlint_cache").write_text("mine")
    else:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(folder, "_open_for_us", full)
    assert lint(project) == lint(project) == fresh(project)
    assert list(elsewhere.iterdir()) == []


def test_a_run_that_is_killed_while_it_writes_leaves_nothing_half_done(
    project: Path, monkeypatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder.os, "replace", killed)
        lint(project)
    assert lint(project) == lint(project) == fresh(project)


def test_the_folder_says_what_it_is(project: Path) -> None:
    lint(project)
    cache = project / ".bnlint_cache"
    assert (cache / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f")
    assert (cache / ".gitignore").read_text() == "*\n"


def test_a_cache_elsewhere_keeps_projects_apart(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    write(other / "model.py", MODEL.replace("0.99", "0.01"))
    kept = tmp_path / "kept"
    for _ in range(2):
        for root in (project, other):
            assert lint(root, cache_dir=kept) == fresh(root)
    assert not (project / ".bnlint_cache").exists()


def test_versions_do_not_see_each_other_and_do_not_pile_up(project: Path, monkeypatch) -> None:
    for number in range(6):
        monkeypatch.setattr(folder, "version_tag", lambda number=number: f"0.{number}")
        lint(project)
    assert len([path for path in (project / ".bnlint_cache").iterdir() if path.is_dir()]) <= 3


def test_packs_are_put_together_and_lose_what_is_gone(project: Path) -> None:
    for number in range(12):
        write(project / "model.py", MODEL + f"# {number}\n")
        lint(project)
    packs = list(project.rglob("pack-*"))
    assert len(packs) <= 7
    assert sum(path.stat().st_size for path in packs) < 12 * 5000
    assert lint(project) == fresh(project)


def test_a_crash_is_not_kept(project: Path, monkeypatch) -> None:
    def crash(*_: object) -> None:
        raise ValueError("once")

    with monkeypatch.context() as patch:
        patch.setattr(bnlint.source.draw, "draw", crash)
        assert [f.code for f in lint(project).findings] == ["BNL903"]
    assert lint(project) == fresh(project)


def test_facts_that_crash_the_drawing_are_read_again(project: Path, monkeypatch) -> None:
    lint(project)
    for run in project.rglob("run-*"):
        run.unlink()
    actual = bnlint.source.draw.draw
    calls: list[int] = []

    def crash_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("malformed facts")
        return actual(*arguments)

    monkeypatch.setattr(bnlint.source.draw, "draw", crash_once)
    assert lint(project) == fresh(project)


def test_runs_at_the_same_time_find_the_same(project: Path) -> None:
    command = [sys.executable, "-m", "bnlint", "--output-format", "json", "."]
    runs = [
        subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = {run.communicate(timeout=120)[0] for run in runs}
    assert len(outputs) == 1
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert {again.stdout} == outputs


def test_a_warm_run_imports_no_parser(project: Path) -> None:
    """Parsers, rich, torch and the analysis stay unimported while a warm run reports findings."""
    code = (
        "import sys; from bnlint.cli import main\n"
        "try: main(['lint', '.'])\n"
        "except SystemExit as end: print('exit', end.code)\n"
        "heavy = ('libcst', 'rich', 'torch', 'bnlint.source.engine', 'bnlint.source.draw')\n"
        "print('heavy', [name for name in heavy if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code]
    cold, warm = (
        subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120).stdout
        for _ in range(2)
    )
    assert warm.endswith("exit 1\nheavy []\n"), warm
    assert "bnlint.source.draw" in cold
    assert warm.partition(" in ")[0] == cold.partition(" in ")[0]


def test_the_default_of_the_api_leaves_no_trace(project: Path) -> None:
    engine.lint_paths(project, settings=Settings(base=project))
    assert not (project / ".bnlint_cache").exists()


TEXTS = {
    "model.py": (MODEL, MODEL.replace("0.99", "0.01"), MODEL + "\n# end\n", BATCHNORM, "def ("),
    "infer.py": (SCRIPT, SCRIPT.replace("net = Net()", "net = Net().eval()"), "import model\n"),
    "new.py": (BATCHNORM, "from model import *\n", "# bnlint: ignore-file[BNL401]\n" + BATCHNORM),
    "torch.py": ("def no_grad(): ...\n",),
}
EDITS = st.lists(
    st.sampled_from([(name, text) for name, texts in TEXTS.items() for text in (*texts, None)]),
    min_size=1,
    max_size=6,
)


@h_settings(max_examples=25, deadline=None)
@given(edits=EDITS, choices=st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_row_of_edits_finds_what_a_first_run_finds(edits: Any, choices: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "pyproject.toml").write_text("")
        write(root / "model.py", MODEL)
        write(root / "infer.py", SCRIPT)
        for (file, text), is_all in zip(edits, choices):
            if text is None:
                (root / file).unlink(missing_ok=True)
            else:
                write(root / file, text)
            chosen = {"select": ("ALL",)} if is_all else {}
            assert lint(root, **chosen) == fresh(root, **chosen)


def test_an_editor_begins_with_what_the_linter_has_read(project: Path, monkeypatch) -> None:
    expected = lint(project)

    def refuse(path: str) -> None:
        raise AssertionError(f"{path} was parsed")

    monkeypatch.setattr("bnlint.source.reader.read_file", refuse)
    opened = LivingProject(project, Settings(base=project, cache=True))
    paths = frozenset(str(project / name) for name in ("model.py", "infer.py"))
    assert opened.lint_open(paths).findings == expected.findings


def test_flake8_says_only_of_a_cold_cache_that_it_reads(project: Path, caplog, monkeypatch) -> None:
    monkeypatch.chdir(project)
    for expected in (1, 0):
        caplog.clear()
        flake8._by_path.cache_clear()
        assert flake8._by_path(project)
        assert len([r for r in caplog.records if "is not in the cache" in r.message]) == expected
    flake8._by_path.cache_clear()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("what", ["pipe", "device", "link"])
def test_what_stands_in_place_of_a_kept_file_is_not_followed(project: Path, what: str) -> None:
    """A repository can hold a cache folder, and in it links to anywhere."""
    expected = lint(project)
    secret = project.parent / "secret"
    for file in kept_files(project):
        secret.write_bytes(file.read_bytes())
        file.unlink()
        if what == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to("/dev/zero" if what == "device" else secret)
    before = secret.read_bytes()
    assert lint(project) == lint(project) == expected
    assert secret.read_bytes() == before


def test_a_version_that_is_a_link_is_left_alone(project: Path, tmp_path: Path) -> None:
    expected = lint(project)
    (version,) = {file.parent for file in kept_files(project)}
    shutil.rmtree(version)
    elsewhere = tmp_path / "of others"
    elsewhere.mkdir()
    version.symlink_to(elsewhere)
    assert lint(project) == lint(project) == expected
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_full_disk_under_the_cache_costs_only_time(project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert lint(project, cache_dir=disk) == lint(project, cache_dir=disk) == fresh(project)
        assert not list(disk.rglob("tmp-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_much_is_written_before_the_run_ends(project: Path, monkeypatch) -> None:
    monkeypatch.setattr(pack, "_AT_ONCE", 10)
    monkeypatch.setattr(pack, "_MOST_PACKS", 3)
    for number in range(6):
        write(project / f"net{number}.py", MODEL.replace("Net", f"Net{number}"))
    expected = fresh(project)
    assert lint(project) == expected
    packs = [path for path in kept_files(project) if path.name.startswith("pack-")]
    assert 1 <= len(packs) <= 4
    write(project / "infer.py", SCRIPT + "x = 1\n")
    monkeypatch.setattr(reader, "read_bytes", only_reads("infer.py"))
    assert lint(project).findings == expected.findings


def test_large_packs_stay_where_small_ones_are_put_together(project: Path, monkeypatch) -> None:
    def packs() -> dict[str, int]:
        found = (path for path in kept_files(project) if path.name.startswith("pack-"))
        return {path.name: path.stat().st_size for path in found}

    monkeypatch.setattr(pack, "_MOST_PACKS", 3)
    for number in range(20):
        write(project / f"net{number}.py", MODEL.replace("Net", f"Net{number}"))
    lint(project)
    ((first, size),) = packs().items()
    monkeypatch.setattr(pack, "_SMALL", size // 2)
    for number in range(5):
        write(project / "model.py", MODEL + f"x = {number}\n")
        assert lint(project) == fresh(project)
        assert first in packs()
        assert len(packs()) <= 3


def only_reads(name: str) -> Callable[[str, bytes], Outcome]:
    """A reader for one file: the others are known."""
    read = reader.read_bytes

    def noted(path: str, data: bytes) -> Outcome:
        assert Path(path).name == name
        return read(path, data)

    return noted
