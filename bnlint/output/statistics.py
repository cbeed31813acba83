"""Counts for each rule, in place of the findings."""

from __future__ import annotations

import json
from collections import Counter

from bnlint.output.base import Printout


def render(printout: Printout, as_json: bool) -> str:
    """The rules that found something, the most frequent first; suppressed findings do not count."""
    counts = Counter((f.code, f.name) for f in printout.visible)
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    if as_json:
        table = [{"code": code, "name": name, "count": count} for (code, name), count in rows]
        return json.dumps(table, indent=2) + "\n"
    width = max((len(str(count)) for _, count in rows), default=1)
    return "".join(f"{count:>{width}}  {code}  {name}\n" for (code, name), count in rows)
