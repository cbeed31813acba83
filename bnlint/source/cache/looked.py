"""What a run has looked at, as it is kept: from it follows which changes no picture would show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bnlint.overrides import SWITCHES

if TYPE_CHECKING:
    from bnlint.source.project import Project

SETS_BY_NAME: Final = frozenset({"setattr"})
"""Words by which code may set a flag without naming it as an attribute."""


class Looked(Struct, frozen=True, array_like=True):
    """functions: where those begin that were run or read, by file. names: of modules, that other
    files asked for. parts: words by which methods were searched. strained: files that took nearly
    too many steps. closures: the words that make code relevant, one list for each sense of that.
    outside: names of packages. switching: names of functions that set flags. room: nodes that the
    project may gain or lose until what is left of its steps can decide anything.
    """

    functions: dict[str, list[int]]
    names: dict[str, list[str]]
    parts: list[str]
    strained: list[str]
    closures: list[list[str]]
    outside: list[str]
    switching: list[str]
    room: int


def looked_at(project: Project) -> Looked | None:
    """What the drawing of a project has looked at; None where the settings explain names, which
    makes everything of interest."""
    from bnlint.source.trace_artist import ENTRY_BUDGET, STEPS_PER_NODE

    if project.explained:
        return None
    noticed, relevance = project.noticed, project.relevance
    closures = (relevance.acting, relevance.building, relevance.modelling, relevance.judging)
    return Looked(
        noticed.read_spans(),
        {path: sorted(names) for path, names in noticed.names.items()},
        sorted(noticed.parts),
        sorted(noticed.strained),
        [sorted(words) for words in closures],
        sorted(relevance.outside),
        sorted(relevance.named_with(SWITCHES | SETS_BY_NAME)),
        (noticed.left - ENTRY_BUDGET) // (2 * STEPS_PER_NODE),
    )
