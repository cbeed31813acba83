"""A report as plain text: a table with bars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.finding import Finding

if TYPE_CHECKING:
    from bnlint.live.report import LayerReport, Report

WIDTH: Final = 96
BAR: Final = 24
FULL_SCALE: Final = 1.0
"""d at which a bar is full: the outputs differ by their own standard deviation."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

OUTPUT_LINES: Final = (
    ("drift", "output drift, batch against running statistics (relative L2)"),
    ("flip_rate", "predictions that flip between the two"),
    ("flip_control", "  of these expected by batch noise alone (control)"),
    ("dropout_share", "output drift that dropout makes by itself"),
    ("random_share", "output drift by other randomness (DropPath, noise)"),
    ("drift_before", "output drift on the second half of the batch"),
    ("drift_recalibrated", "  the same after re-estimating statistics on the first half"),
)


def render(report: Report) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    phase = f", phase {report.phase}" if report.phase else ""
    yield f"bnlint check: {report.title}{phase}, batch {report.output.get('batch')}"
    yield seen_line(report)
    if report.synthetic:
        yield ""
        yield synthetic_banner()
    if report.layers:
        yield ""
        yield from _table(report)
    yield ""
    yield from _output(report)
    yield from _findings(report)
    yield from _uninspected(report)


def synthetic_banner() -> str:
    """What a reader must know when the inputs were made up."""
    line = "!" * WIDTH
    return (
        f"{line}\n"
        "SYNTHETIC INPUT: made up from the first layers. Random input makes every good network\n"
        "drift, so drift and flips below say nothing about yours; only structure, constructor\n"
        f"arguments and mode are judged. Pass real data to measure.\n{line}"
    )


def seen_line(report: Report) -> str:
    """How much BatchNorm was seen: none is never the same as clean."""
    calls, modules = len(report.layers), report.registered
    if calls:
        return f"{calls} BatchNorm call(s) measured; the model holds {modules} BatchNorm module(s)"
    if modules or report.uninspected:
        return (
            "NOT INSPECTED: no BatchNorm call could be measured, although the model holds "
            f"{modules} BatchNorm module(s); this is no clean result"
        )
    return "NOTHING TO INSPECT: the model has no BatchNorm; this says nothing about other layers"


def _table(report: Report) -> Iterator[str]:
    names = [_name(layer) for layer in report.layers]
    width = min(max(len("layer"), *map(len, names)), 40)
    yield (
        f"{'layer':<{width}}  {'fed by':<12} {'values':>8} {'d':>6} {'floor':>6} {'cumul.':>6}  "
        f"0{'d':^{BAR - 2}}1"
    )
    for name, layer in zip(names, report.layers):
        shown = name if len(name) <= width else "…" + name[-width + 1 :]
        fed = "+".join(sorted(layer.producers))[:12]
        yield (
            f"{shown:<{width}}  {fed:<12} {number(layer.values_per_channel):>8} "
            f"{number(layer.d):>6} {number(layer.floor):>6} {number(layer.cumulative):>6}  "
            f"{bar(layer.d, layer.floor)}"
        )
    yield (
        f"{'':<{width}}  d: distance of batch from running statistics in standard deviations of "
        "the output;"
    )
    yield f"{'':<{width}}  ┊ and floor: what chance alone gives at this batch size"


def _name(layer: LayerReport) -> str:
    return f"{layer.name} ({layer.call + 1})" if layer.call else layer.name


def bar(value: float | None, floor: float | None) -> str:
    """A bar for d with a mark at the noise floor."""
    if value is None:
        return "not measured"
    eighths = round(min(max(value, 0.0), FULL_SCALE) / FULL_SCALE * BAR * 8)
    cells = list("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip())
    cells += ["·"] * (BAR - len(cells))
    if floor is not None:
        cells[min(round(floor / FULL_SCALE * BAR), BAR - 1)] = "┊"
    return "".join(cells) + ("▶" if value > FULL_SCALE else "")


def _output(report: Report) -> Iterator[str]:
    known = [(key, text) for key, text in OUTPUT_LINES if key in report.output]
    if not known:
        return
    yield "output"
    for key, text in known:
        yield f"  {text:<62} {percent(report.output[key]):>8}"


def _findings(report: Report) -> Iterator[str]:
    yield ""
    if not report.findings:
        yield "no findings" if report.layers else "no findings, but nothing was measured either"
        return
    yield f"{len(report.findings)} finding(s)"
    for finding in report.findings:
        yield f"  {where(finding)}{finding.code} {finding.severity.label}: {finding.message}"


def where(finding: Finding) -> str:
    """The finding's place, or the module's name where there is no source."""
    if finding.place is not None:
        return f"{finding.place.path}:{finding.place.line}: "
    return f"{finding.module}: " if finding.module else ""


def _uninspected(report: Report) -> Iterator[str]:
    if not report.uninspected:
        return
    yield ""
    yield f"not inspected ({len(report.uninspected)})"
    for part in report.uninspected:
        yield f"  {part.name or report.title}: {part.reason}"


def number(value: float | int | None) -> str:
    """A number of a table; a dash for None."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"[:6]


def percent(value: object) -> str:
    """A share as a percentage; a dash for None."""
    return f"{value:.1%}" if isinstance(value, (int, float)) else "-"
