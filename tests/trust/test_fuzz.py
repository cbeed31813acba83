"""The coverage-guided fuzzing finds nothing: each of its targets, for ten minutes each, on nights
on which atheris is installed (`BNLINT_NIGHTLY=1`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris")

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
TARGETS = (
    "source", "notebook", "comments", "configuration", "ignores", "baseline", "facts", "cache"
)  # fmt: skip
SECONDS = 600


@pytest.mark.skipif(os.environ.get("BNLINT_NIGHTLY") != "1", reason="takes more than an hour")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_in(target: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FUZZ), target, "corpus", f"-max_total_time={SECONDS}"]
    done = subprocess.run(
        [*command, "-max_len=1000"], cwd=tmp_path, capture_output=True, timeout=3 * SECONDS + 300
    )
    assert done.returncode == 0, done.stderr[-3_000:].decode(errors="replace")
    assert b"Done " in done.stderr
