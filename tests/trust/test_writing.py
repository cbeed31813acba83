"""A fixed file is either the old or the new one: killed, with a full disk, in folders of others."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bnlint.source import writing
from bnlint.source.fixing import FileChange
from bnlint.source.writing import NotWrittenError, remove_leftovers, write

REPOSITORY = Path(__file__).parents[2]
OLD = b"import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
NEW = OLD.replace(b"0.99", b"0.01")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

FIXER = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from bnlint.source.fixing import FileChange
from bnlint.source.writing import write
old, new = Path({folder!r}, "old").read_bytes(), Path({folder!r}, "new").read_bytes()
print("ready", flush=True)
while True:
    for path in sorted(Path({folder!r}).glob("*.py")):
        now = path.read_bytes()
        write(FileChange(str(path), now, new if now == old else old), Path({folder!r}))
"""


def killed_while_writing(folder: Path, trials: int) -> int:
    """Kill a process that writes files back and forth; how many files were torn or lost."""
    old, new = OLD + b"# 1\n" * 40_000, NEW + b"# 2\n" * 50_000
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    for number in range(5):
        (folder / f"f{number}.py").write_bytes(old)
    code = FIXER.format(repository=str(REPOSITORY), folder=str(folder))
    torn = 0
    for _ in range(trials):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.random() * 0.03)
        process.kill()
        process.wait()
        process.stdout.close()
        files = [folder / f"f{number}.py" for number in range(5)]
        torn += sum(not f.exists() or f.read_bytes() not in (old, new) for f in files)
    return torn


@dataclass(frozen=True)
class Killed:
    """What kills of the whole command have left. torn: files that are neither old nor new;
    partial: kills between the first file that was written and the last; left: files besides."""

    torn: int
    partial: int
    left: int


def killed_while_fixing(folder: Path, trials: int, files: int = 12) -> Killed:
    """Kill `bnlint lint --fix` at random moments, from its start to its end, over and over with
    what the killed run has left in the cache; at last let it finish."""
    padding = b'TEXT = "' + b"x" * 150_000 + b'"\n'
    old, new = OLD + padding, NEW + padding
    names = [folder / f"f{number:02}.py" for number in range(files)]
    command = [sys.executable, "-m", "bnlint", "lint", "--fix", "--unsafe-fixes", "."]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def start() -> subprocess.Popen[bytes]:
        for name in names:
            name.write_bytes(old)
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=nowhere, stderr=nowhere
        )

    begin = time.perf_counter()
    assert start().wait() == 0
    needed = time.perf_counter() - begin
    torn = partial = 0
    for number in range(trials):
        process = start()
        if number % 2:  # from the first write on
            while process.poll() is None and names[0].read_bytes() == old:
                time.sleep(0.001)
            time.sleep(random.random() * needed / 10)
        else:
            time.sleep(random.random() * needed)
        process.kill()
        process.wait()
        found = [name.read_bytes() if name.exists() else b"" for name in names]
        torn += sum(each not in (old, new) for each in found)
        partial += len(set(found)) > 1
    assert start().wait() == 0
    torn += sum(name.read_bytes() != new for name in names)
    return Killed(torn, partial, len(list(folder.glob(".bnlint-*"))))


def test_a_killed_command_leaves_whole_files(tmp_path: Path) -> None:
    killed = killed_while_fixing(tmp_path, 6)
    assert (killed.torn, killed.left) == (0, 0)


def test_a_killed_run_leaves_whole_files(tmp_path: Path) -> None:
    assert killed_while_writing(tmp_path, 8) == 0
    remove_leftovers([str(tmp_path)])
    assert not list(tmp_path.glob(".bnlint-*"))


def test_a_killed_run_of_the_command_is_tidied_up_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(OLD)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    machine = writing._machine()
    dead = tmp_path / f".bnlint-{machine}-{process.pid}-x.tmp"
    living = tmp_path / f".bnlint-{machine}-{os.getpid()}-x.tmp"
    foreign = tmp_path / f".bnlint-00000000-{process.pid}-x.tmp"
    older = tmp_path / f".bnlint-00000000-{process.pid}-y.tmp"
    mine = tmp_path / ".bnlint-notes.tmp"
    for file in (dead, living, foreign, older, mine):
        file.touch()
    os.utime(older, (0, 0))
    link = tmp_path / f".bnlint-{machine}-{process.pid}-z.tmp"
    link.symlink_to(tmp_path / "a.py")
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", "lint", "--fix", "--unsafe-fixes", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.py").read_bytes() == NEW
    left = {path.name for path in tmp_path.glob(".bnlint-*")}
    assert left == {living.name, foreign.name, mine.name, link.name}


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(OLD)
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from bnlint.source.fixing import FileChange\n"
        "from bnlint.source.writing import NotWrittenError, write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))\n"
        f"path = Path({str(file)!r})\n"
        "try:\n    write(FileChange(str(path), path.read_bytes(), b'#' * 5_000), path.parent)\n"
        "except NotWrittenError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "cannot be written: File too large" in done.stdout, done.stderr
    assert file.read_bytes() == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]


def test_a_real_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        file = disk / "a.py"
        file.write_bytes(OLD)
        with pytest.raises(NotWrittenError, match="No space left"):
            write(FileChange(str(file), OLD, b"#" * 100_000), disk)
        assert file.read_bytes() == OLD
        assert [path.name for path in disk.iterdir()] == ["a.py"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("moment", ["mkstemp", "fsync", "chmod", "replace"])
def test_an_error_at_any_moment_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(OLD)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.tempfile if moment == "mkstemp" else writing.os, moment, fail)
    with pytest.raises(NotWrittenError, match="No space left"):
        write(FileChange(str(file), OLD, NEW), tmp_path)
    assert file.read_bytes() == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]


def test_what_is_edited_meanwhile_stays_as_it_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(OLD + b"# edited\n")
    with pytest.raises(NotWrittenError, match="has changed"):
        write(FileChange(str(file), OLD, NEW), tmp_path)
    file.write_bytes(OLD)
    original = writing._beside

    def edit_then(path: str, content: bytes, before: os.stat_result) -> str:
        file.write_bytes(OLD + b"# edited\n")
        return original(path, content, before)

    monkeypatch.setattr(writing, "_beside", edit_then)
    with pytest.raises(NotWrittenError, match="has changed"):
        write(FileChange(str(file), OLD, NEW), tmp_path)
    assert file.read_bytes() == OLD + b"# edited\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]


def test_read_only_files_and_links_out_of_the_project_are_left_alone(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside.py"
    project.mkdir()
    outside.write_bytes(OLD)
    link = project / "link.py"
    link.symlink_to(outside)
    with pytest.raises(NotWrittenError, match="out of the project"):
        write(FileChange(str(link), OLD, NEW), project)
    locked = project / "locked.py"
    locked.write_bytes(OLD)
    locked.chmod(0o444)
    with pytest.raises(NotWrittenError, match="read-only"):
        write(FileChange(str(locked), OLD, NEW), project)
    assert outside.read_bytes() == locked.read_bytes() == OLD


@pytest.mark.skipif(not hasattr(signal, "SIGKILL") or os.getuid() == 0, reason="root may write")
def test_a_read_only_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(OLD)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(NotWrittenError, match="Permission denied"):
            write(FileChange(str(tmp_path / "a.py"), OLD, NEW), tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert (tmp_path / "a.py").read_bytes() == OLD
