"""One line for each finding."""

from __future__ import annotations

from bnlint.output.base import Printout, fixable, header, instances, paint, summary


def render(printout: Printout) -> str:
    """`path:line:column: CODE [severity] message` for each visible finding, and a summary with
    what can be fixed."""
    lines = []
    for finding in printout.visible:
        more = instances(finding) - 1
        also = [(f" (and {more} more {'place' if more == 1 else 'places'})", "")] if more else []
        lines.append([*header(finding), *also])
    lines += [[(line, "")] for line in (summary(printout), fixable(printout)) if line]
    return paint(lines, printout.colour)
