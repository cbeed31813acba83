"""Kill a process with SIGKILL at random moments while it writes fixed files: is any file lost or
torn? What it leaves behind is counted and tidied up. Then the same with the whole command
`bnlint lint --fix`, from its start to its end.

    python benchmarks/killed.py [--trials 350] [--commands 150]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trust"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from test_writing import killed_while_fixing, killed_while_writing

from bnlint.source.writing import remove_leftovers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=350, help="of the writer")
    parser.add_argument("--commands", type=int, default=150, help="of the whole command")
    options = parser.parse_args()
    trials = options.trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torn = killed_while_writing(folder, trials)
        left = len(list(folder.glob(".bnlint-*")))
        remove_leftovers([name])
        still = len(list(folder.glob(".bnlint-*")))
    print(
        f"{trials} kills: {torn} files lost or torn, {left} left behind, {still} after tidying up"
    )
    with tempfile.TemporaryDirectory() as name:
        killed = killed_while_fixing(Path(name), options.commands)
    print(
        f"{options.commands} kills of the command, {killed.partial} between two files: "
        f"{killed.torn} files lost or torn, {killed.left} left behind by the last run"
    )
    return int(torn > 0 or still > 0 or killed.torn > 0 or killed.left > 0)


if __name__ == "__main__":
    sys.exit(main())
