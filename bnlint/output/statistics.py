"""Counts for each rule, in place of the findings."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from bnlint.output.base import Printout, summary
from bnlint.printable import printable
from bnlint.rules import find_rule


def render(printout: Printout, as_json: bool) -> str:
    """The rules that found something, the most frequent first, or that none did; suppressed
    findings do not count.

    With a baseline also what is in it and no longer found: it can be written anew, and shrinks.
    """
    counts = Counter((f.code, f.name) for f in printout.visible)
    slack: Counter[str] = Counter()
    for entry, number in printout.slack.items():
        slack[entry.code] += number
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    if as_json:
        table: list[dict[str, Any]] = [
            {"code": code, "name": name, "count": count, "slack": slack[code]}
            for (code, name), count in rows
        ]
        more = sorted(slack.keys() - {code for (code, _), _ in rows})
        table += [
            {"code": code, "name": _name(code), "count": 0, "slack": slack[code]} for code in more
        ]
        return json.dumps(table, indent=2) + "\n"
    width = max((len(str(count)) for count in (*counts.values(), *slack.values())), default=1)
    lines = [f"{count:>{width}}  {code}  {name}\n" for (code, name), count in rows]
    if slack:
        lines.append("In the baseline and no longer found (--write-baseline makes it smaller):\n")
        lines += [f"{slack[code]:>{width}}  {code}  {_name(code)}\n" for code in sorted(slack)]
    return "".join(lines) or printable(summary(printout)) + "\n"


def _name(code: str) -> str:
    rule = find_rule(code)
    return "unknown" if rule is None else rule.name
