"""Does the analysis of a program's text say what its run shows?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from executing import COMPARED, Event, Execution, Mark, Spot

from bnlint.finding import Finding, Role
from bnlint.graph import Kind
from bnlint.rules import all_rules
from bnlint.rules.base import Pictures
from bnlint.source.draw import draw
from bnlint.source.judge import judge
from bnlint.source.project import Project
from bnlint.source.reader import read_text
from bnlint.trace import Forward, Mode


@dataclass
class Reading:
    """What the text says: the accused lines, and the states in which each forward may run.

    must: accused lines of which both modes are seen, so that the proof "on every path" fails.
    """

    marks: set[Mark] = field(default_factory=set)
    modes: dict[Spot, set[tuple[Kind, Mode]]] = field(default_factory=lambda: defaultdict(set))
    grads: dict[Spot, set[bool | None]] = field(default_factory=lambda: defaultdict(set))
    messages: list[str] = field(default_factory=list)


def findings_of(folder: Path, texts: dict[str, str]) -> tuple[Finding, ...]:
    """What the rules say of a program, given by its texts below a folder."""
    return _judged(_pictures(folder, texts))


def read(folder: Path, texts: dict[str, str]) -> Reading:
    """Draw and judge a program, given by its texts below a folder."""
    root = folder.as_posix()
    pictures = _pictures(folder, texts)
    reading = Reading()
    _note_states(pictures, reading, root)
    for finding in _judged(pictures):
        for mark in _marks(finding, root):
            reading.marks.add(mark)
            reading.messages.append(f"{mark[1]}:{mark[2]}: {mark[0]} {finding.message}")
    return reading


def _pictures(folder: Path, texts: dict[str, str]) -> Pictures:
    root = folder.as_posix()
    outcomes = {f"{root}/{path}": read_text(f"{root}/{path}", text) for path, text in texts.items()}
    facts = {path: o.facts for path, o in outcomes.items() if o.facts is not None}
    assert len(facts) == len(texts), [o.problem for o in outcomes.values()]
    return draw(Project(folder, facts))


def _judged(pictures: Pictures) -> tuple[Finding, ...]:
    judgement = judge([r for r in all_rules() if r.code in COMPARED], pictures)
    assert not judgement.crashes, judgement.crashes[0].trace
    return judgement.findings


def _marks(finding: Finding, root: str) -> list[Mark]:
    places = [finding.place, *(e.place for e in finding.evidence if e.role is Role.INSTANCE)]
    return [
        (finding.code, p.path.removeprefix(f"{root}/"), p.line) for p in places if p is not None
    ]


def _note_states(pictures: Pictures, reading: Reading, root: str) -> None:
    for trace, seen in pictures.observations:
        forward = seen.event
        if not isinstance(forward, Forward) or forward.place is None:
            continue
        place = forward.place
        spot = (place.path.removeprefix(f"{root}/"), place.line, place.column)
        reading.grads[spot].add(forward.grad)
        for layer in forward.layers:
            kind = trace.layers[layer].kind
            facts = seen.modes(layer) or {Mode.UNKNOWN}
            reading.modes[spot] |= {(kind, mode) for mode in facts}


@dataclass
class Tally:
    """What was compared, and where the two halves disagree."""

    programs: int = 0
    forwards: int = 0
    found: int = 0
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    exempt: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __str__(self) -> str:
        exempt = ", ".join(f"{len(said)} {why}" for why, said in self.exempt.items())
        return (
            f"{self.programs} programs, {self.forwards} forwards, {self.found} findings in both, "
            f"{len(self.wrong)} wrong, {len(self.unknown)} unknown; exempt: {exempt or 'none'}"
        )

    def add(self, other: Tally) -> None:
        """Add what was found in another program."""
        self.programs += other.programs
        self.forwards += other.forwards
        self.found += other.found
        self.unknown += other.unknown
        self.wrong += other.wrong
        for why, said in other.exempt.items():
            self.exempt[why] += said


EXEMPT = {
    "predicts": "a forward that records gradients, of which the text shows that it only predicts: "
    "a run cannot know that no backward pass will come",
    "both modes": "training mode in the first round only: BNL101 and BNL106 ask for a proof on "
    "every path, a run sees the one that it takes",
}
"""Where the two halves may differ, and why."""


def compare(name: str, seen: Execution, said: Reading) -> Tally:
    """Compare a run with the reading of its text."""
    tally = Tally(programs=1, found=len(seen.marks & said.marks))
    _compare_states(name, seen, said, tally)
    by_line: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in seen.events:
        by_line[event.spot[:2]].append(event)
    for mark in sorted(said.marks ^ seen.marks):
        why = _excuse(mark, mark in said.marks, by_line[mark[1:]], said)
        if why:
            tally.exempt[why].append(f"{name}: {mark}")
        else:
            half = "only the text" if mark in said.marks else "only the run"
            tally.wrong.append(f"{name}: {mark[1]}:{mark[2]}: {mark[0]} in {half}")
    return tally


def _excuse(mark: Mark, is_read: bool, events: list[Event], said: Reading) -> str:
    if mark[0] == "BNL103":
        return ""
    if is_read:
        predicts = mark[0] == "BNL101" and events and all(event.grad for event in events)
        return "predicts" if predicts else ""
    spots = {event.spot for event in events}
    for kind in (Kind.BATCHNORM, Kind.DROPOUT):
        if any({(kind, Mode.TRAIN), (kind, Mode.EVAL)} <= said.modes[spot] for spot in spots):
            return "both modes"
    return ""


def _compare_states(name: str, seen: Execution, said: Reading, tally: Tally) -> None:
    for event in seen.events:
        tally.forwards += 1
        where = f"{name}: {event.spot[0]}:{event.spot[1]}:{event.spot[2]}"
        modes, grads = said.modes.get(event.spot, set()), said.grads.get(event.spot, set())
        if not modes:
            tally.unknown.append(f"{where}: not in the trace")
        elif None in grads or any(mode is Mode.UNKNOWN for _, mode in modes):
            tally.unknown.append(f"{where}: {sorted(modes)}, gradients {grads}")
        else:
            ran = {(kind, Mode.TRAIN if training else Mode.EVAL) for kind, training in event.modes}
            if not ran <= modes or event.grad not in grads:
                line = f"{where}: runs {sorted(ran)} {event.grad}, read {sorted(modes)} {grads}"
                if line not in tally.wrong:
                    tally.wrong.append(line)
