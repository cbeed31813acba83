"""What a run has looked at, as it is kept: from it follows which changes no picture would show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from bnlint.overrides import SWITCHES

if TYPE_CHECKING:
    from bnlint.source.project import Project
    from bnlint.source.relevance import Relevance


SETS_BY_NAME: Final = frozenset({"setattr"})
"""Words by which code may set a flag without naming it as an attribute."""


ACTING, BUILDING, *_OTHERS = SENSES = (1, 2, 4, 8)
"""That code sets modes or runs models, that it builds, and what `Relevance.senses` has besides."""


class Looked(Struct, frozen=True, array_like=True):
    """functions: where those begin that were run or read, by file. names: of modules, that other
    files asked for. parts: words by which the methods of files were searched. called: names of
    which calls were searched. strained: files that took nearly too many steps. senses: in which
    senses words make code relevant, a bit for each.
    outside: names of packages. switching: names of functions that set flags. room: nodes that the
    project may gain or lose until what is left of its steps can decide anything.
    """

    functions: dict[str, list[int]]
    names: dict[str, list[str]]
    parts: dict[str, list[str]]
    called: list[str]
    strained: list[str]
    senses: dict[str, int]
    outside: list[str]
    switching: list[str]
    room: int


def senses_of(relevance: Relevance) -> dict[str, int]:
    """In which senses words make code relevant."""
    senses: dict[str, int] = {}
    for bit, words in zip(SENSES, relevance.senses):
        for word in sorted(words):
            senses[word] = senses.get(word, 0) | bit
    return senses


def with_earlier(now: Looked, before: Looked) -> Looked:
    """What two drawings have looked at, of which the second has kept what the first gave."""

    return replace(
        now,
        functions=_together(now.functions, before.functions),
        names=_together(now.names, before.names),
        parts=_together(now.parts, before.parts),
        called=sorted({*now.called, *before.called}),
        strained=sorted({*now.strained, *before.strained}),
        switching=sorted({*now.switching, *before.switching}),
        room=min(now.room, before.room),
    )


def _together(first: dict[str, list[Any]], second: dict[str, list[Any]]) -> dict[str, list[Any]]:
    paths = [*first, *(path for path in second if path not in first)]
    return {path: sorted({*first.get(path, ()), *second.get(path, ())}) for path in paths}


def looked_at(project: Project) -> Looked | None:
    """What the drawing of a project has looked at; None where the settings explain names, which
    makes everything of interest."""
    from bnlint.source.trace_artist import ENTRY_BUDGET, STEPS_PER_NODE

    if project.explained:
        return None
    noticed, relevance = project.noticed, project.relevance
    return Looked(
        noticed.read_spans(),
        {path: sorted(names) for path, names in noticed.names.items()},
        {path: sorted(names) for path, names in noticed.parts.items()},
        sorted(noticed.called),
        sorted(noticed.strained),
        senses_of(relevance),
        sorted(relevance.outside),
        sorted(relevance.named_with(SWITCHES | SETS_BY_NAME)),
        (noticed.left - ENTRY_BUDGET) // (2 * STEPS_PER_NODE),
    )
