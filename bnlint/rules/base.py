"""The frame of a rule: documentation, examples, default, predicate; and the pictures it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

from bnlint.finding import Evidence, Finding, Fix, Measurement, Place, Severity
from bnlint.functional import ModeCall
from bnlint.graph import LayerGraph
from bnlint.overrides import ModeMethod
from bnlint.records import Record, field
from bnlint.solver import Observation, solve
from bnlint.trace import ModeTrace


class Measured(Record, frozen=True):
    """What the live half measured, as plain numbers; empty for the source half.

    layers: by node id of the one live graph. output: of the final output.
    synthetic: the inputs were made up, so nothing that depends on data is judged.
    """

    layers: Mapping[int, Measurement] = field(default_factory=dict)
    output: Measurement = field(default_factory=dict)
    synthetic: bool = False

    @property
    def is_live(self) -> bool:
        """Whether a real run stands behind the pictures."""
        return bool(self.layers or self.output)


class Pictures(Record, frozen=True, dict=True):
    """All that a rule may look at: layer graphs, mode traces, what classes do to the mode, calls of
    mode-sensitive functions, measured numbers."""

    graphs: Sequence[LayerGraph] = ()
    traces: Sequence[ModeTrace] = ()
    mode_methods: Sequence[ModeMethod] = ()
    mode_calls: Sequence[ModeCall] = ()
    measured: Measured = Measured()
    tested: frozenset[str] = frozenset()
    """Files whose networks are there to be tested, and never trained."""
    options: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What the settings say for single rules: values by the rule's code and the option's name."""

    def option(self, rule: Rule, name: str) -> int:
        """The value of a rule's option; raises KeyError when the rule has no such option."""
        default = {option.name: option.default for option in rule.options}[name]
        return self.options.get(rule.code, {}).get(name, default)

    @cached_property
    def observations(self) -> list[tuple[ModeTrace, Observation]]:
        """Every event of every trace, with the state in which it happens."""
        return [(trace, seen) for trace in self.traces for seen in self.observed(trace)]

    def observed(self, trace: ModeTrace) -> list[Observation]:
        """Every event of one of the traces, with the state in which it happens."""
        return self._observed[id(trace)]

    @cached_property
    def _observed(self) -> dict[int, list[Observation]]:
        return {id(trace): solve(trace) for trace in self.traces}


class Example(Record, frozen=True):
    """A piece of code on a rule's page: a complete small file. The lines that the rule accuses are
    marked `# expect: CODE`; a right example has none."""

    code: str
    title: str = ""


class Option(Record, frozen=True):
    """A number of a rule that the settings may change: `[tool.bnlint.rules.CODE] name = 1`."""

    name: str
    default: int
    minimum: int
    text: str


class Rule(Record, frozen=True):
    """Everything about one rule; documentation pages, `bnlint rule` and tests come from it.

    summary: one line. what, why, fine_when, fix_safety: paragraphs in Markdown.
    references: papers, PyTorch documentation, public issues ("title <url>").
    default: whether it is on without being selected.
    options: what the settings may say for this rule alone.
    live_severity, live_default: what the live half has instead, where a run proves more than text.
    source, live: which halves have it. needs_data: withheld when the input is synthetic.
    check: the predicate; None for findings that the engine itself makes (BNL9xx).
    """

    code: str
    name: str
    severity: Severity
    summary: str
    what: str
    why: str
    fine_when: str
    references: tuple[str, ...]
    wrong: tuple[Example, ...]
    right: tuple[Example, ...]
    check: Callable[[Pictures], Iterable[Finding]] | None = None
    default: bool = True
    source: bool = True
    live: bool = False
    needs_data: bool = False
    fix_safety: str = ""
    live_severity: Severity | None = None
    live_default: bool | None = None
    options: tuple[Option, ...] = ()

    def is_default(self, *, live: bool) -> bool:
        """Whether one half has the rule on without being told."""
        return self.default if self.live_default is None or not live else self.live_default

    def severity_for(self, pictures: Pictures) -> Severity:
        """How severe a finding in these pictures is, unless the rule says otherwise."""
        if self.live_severity is None or not pictures.measured.is_live:
            return self.severity
        return self.live_severity

    def finding(
        self,
        message: str,
        place: Place | None,
        evidence: Sequence[Evidence] = (),
        *,
        severity: Severity | None = None,
        fix: Fix | None = None,
        module: str | None = None,
        measurement: Measurement | None = None,
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity if severity is None else severity,
            message=message,
            place=place,
            evidence=tuple(evidence),
            fix=fix,
            module=module,
            measurement=measurement or {},
        )
