"""Texts with choices: `[[one||other]]` stands for one of the alternatives, which may span lines.

A line of which nothing is left is dropped; lines of an alternative stand as far to the right as the
choice does.
"""

from __future__ import annotations

import re
from random import Random

CHOICE = re.compile(r"\[\[((?:(?!\[\[|\]\]).)*)\]\]", re.DOTALL)


def filled(template: str, random: Random) -> str:
    """The template with one alternative for each choice."""
    while (match := CHOICE.search(template)) is not None:
        chosen = random.choice(match[1].split("||")).rstrip(" ")
        line = template[template.rfind("\n", 0, match.start()) + 1 : match.start()]
        margin = line if not line.strip() else ""
        first, *others = chosen.split("\n")
        lines = [first, *(margin + other if other else other for other in others)]
        before, after = template[: match.start()], template[match.end() :]
        if not chosen and not line.strip() and after.startswith("\n"):
            before, after = before[: len(before) - len(line)], after[1:]
        template = before + "\n".join(lines) + after
    return template
