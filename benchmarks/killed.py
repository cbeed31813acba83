"""Kill a process with SIGKILL at random moments while it writes fixed files: is any file lost or
torn? What it leaves behind is counted and tidied up.

    python benchmarks/killed.py [--trials 500]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trust"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from test_writing import killed_while_writing

from bnlint.source.writing import remove_leftovers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torn = killed_while_writing(folder, trials)
        left = len(list(folder.glob(".bnlint-*")))
        remove_leftovers([name])
        still = len(list(folder.glob(".bnlint-*")))
    print(
        f"{trials} kills: {torn} files lost or torn, {left} left behind, {still} after tidying up"
    )
    return int(torn > 0 or still > 0)


if __name__ == "__main__":
    sys.exit(main())
