"""`bnlint lint --write-baseline`: what is found now, as a file that --baseline reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnlint.baseline import Baseline
from bnlint.cli import CommandError
from bnlint.cli.given import Outcome
from bnlint.printable import counted
from bnlint.records import replace
from bnlint.settings import CRASH

if TYPE_CHECKING:
    from bnlint.source.result import LintResult


def write_baseline(result: LintResult, file: Path) -> Outcome:
    """Write the file; the findings are then accounted for, so that the run does not fail. Crashes
    are not: what they hid is missing."""
    from bnlint.source.excerpt import Sources

    baseline = Baseline.of(result.findings, file, Sources(result.texts).lines)
    try:
        file.write_text(baseline.text(), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--write-baseline {file}: {error.strerror or error}") from None
    places = counted(sum(baseline.counts.values()), "place")
    click.echo(f"Wrote {places} to {file}.", err=True)
    crashed = tuple(finding for finding in result.findings if finding.code == CRASH)
    rest = replace(result, findings=crashed)
    return Outcome(rest, rest.worst, prints=bool(crashed))
