"""Does the prefilter cost a finding? Each project is linted with it and without it, all rules on.

    python benchmarks/prefilter.py PROJECT...

One line for each project: how many of its files were read before the linking, how many findings
there are, and those (by code, place and severity) that are not in both runs. Exit code 1 when there
are any. Where files are read in another order, a layer may be named by its path in another model:
such findings are counted as "in other words".
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bnlint.finding import Finding, Place, Severity
from bnlint.settings import Settings
from bnlint.source.discover import discover
from bnlint.source.engine import open_workspace
from bnlint.source.prefilter import relevant

ALL = Settings(select=("ALL",), jobs=1)


def findings(project: Path, *, prefilter: bool) -> list[Finding]:
    """What all rules say of a project."""
    settings = replace(ALL, root=project, prefilter=prefilter)
    return list(open_workspace([project], settings).lint().findings)


def _what(finding: Finding) -> tuple[str, Place | None, Severity]:
    return finding.code, finding.place, finding.severity


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("projects", nargs="+", type=Path)
    differences = 0
    for project in parser.parse_args().projects:
        files = discover([project], ALL, Path.cwd())
        chosen = relevant(files.files, files.files, files.named)
        quick = findings(project, prefilter=True)
        whole = findings(project, prefilter=False)
        seen, expected = set(map(_what, quick)), set(map(_what, whole))
        differences += len(seen ^ expected)
        words = sum(f not in whole for f in quick if _what(f) in expected)
        print(
            f"{project.name}: {len(chosen)} of {len(files.files)} files, {len(whole)} findings, "
            f"{words} in other words"
        )
        for what in sorted(seen ^ expected, key=str):
            print(f"  only {'with' if what in seen else 'without'} the prefilter: {what}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
