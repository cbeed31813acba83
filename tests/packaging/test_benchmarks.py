"""The speed benchmark runs: its parts that need no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_growth_is_measured_and_plotted(tmp_path: Path) -> None:
    plot = tmp_path / "growth.svg"
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--quick", "--rows", "growth"]
    command += ["--work", str(tmp_path), "--plot", str(plot)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "80 files / 40 files" in run.stdout
    assert plot.read_text(encoding="utf-8").lstrip().startswith("<?xml")
