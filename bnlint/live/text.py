"""A report as plain text: a table with bars."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from bnlint.finding import Evidence, Finding, Place, Role
from bnlint.live.charts import measured_curve_of, worst_layers
from bnlint.paths import shown_path
from bnlint.rules.curves import curve

if TYPE_CHECKING:
    from bnlint.live.report import LayerReport, Report

NARROWEST: Final = 80
WIDEST: Final = 120
BAR: Final = 14
FULL_SCALE: Final = 1.0
"""d at which a bar is full: the outputs differ by their own standard deviation."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

OUTPUT_LINES: Final = (
    ("drift", "output drift, batch against running statistics (relative L2)"),
    ("drift_control", "  of this expected by batch noise alone (control)"),
    ("flip_rate", "predictions that flip between the two"),
    ("flip_control", "  of these expected by batch noise alone (control)"),
    ("dropout_share", "output drift that dropout makes by itself"),
    ("random_share", "output drift by other randomness (DropPath, noise)"),
    ("drift_before", "output drift on the held-out half of the data"),
    ("drift_recalibrated", "  the same after re-estimating statistics on the other half"),
    ("flip_before", "predictions that flip on the held-out half"),
    ("flip_recalibrated", "  the same after re-estimating statistics on the other half"),
)


def render(report: Report, width: int | None = None) -> str:
    """The whole report, for a terminal with this many columns; None asks the terminal."""
    if width is None:
        width = shutil.get_terminal_size((NARROWEST, 24)).columns
    return "\n".join(_lines(report, min(max(width, NARROWEST), WIDEST)))


def _lines(report: Report, width: int) -> Iterator[str]:
    yield heading(report)
    yield seen_line(report)
    if report.synthetic:
        yield ""
        yield synthetic_banner(width)
    if report.layers:
        yield ""
        yield from _table(report, width)
    yield ""
    yield from _output(report)
    yield from _batch_sizes(report, width)
    yield from _processes(report)
    yield from _findings(report, width)
    yield from _uninspected(report, width)


def heading(report: Report) -> str:
    """What was checked, for which phase, on how many samples."""
    phase = f", phase {report.phase}" if report.phase else ""
    batch = report.output.get("batch")
    batches = report.output.get("batches", 1)
    size = f", {batches} batches of {batch}" if batches != 1 else f", batch {batch}"
    return f"bnlint check: {report.title}{phase}" + (size if batch else "")


SYNTHETIC: Final = (
    "SYNTHETIC INPUT: random numbers stand in for data. Random input makes every good network "
    "drift, so drift and flips below say nothing about yours; only structure, constructor "
    "arguments and mode are judged. Pass real data to measure."
)


def synthetic_banner(width: int = NARROWEST) -> str:
    """What a reader must know when the inputs were made up."""
    line = "!" * width
    return "\n".join([line, *textwrap.wrap(SYNTHETIC, width), line])


def seen_line(report: Report) -> str:
    """How much BatchNorm was seen: none is never the same as clean."""
    calls, modules = len(report.layers), report.registered
    if calls:
        measured = f"{counted(calls, 'BatchNorm call')} measured"
        return f"{measured}; the model holds {counted(modules, 'BatchNorm module')}"
    if modules:
        return (
            "NOT INSPECTED: no BatchNorm call could be measured, although the model holds "
            f"{counted(modules, 'BatchNorm module')}; this is no clean result"
        )
    if any(not part.of_rules for part in report.uninspected):
        return (
            "NOT INSPECTED: no BatchNorm call was seen, but not all of the model could be "
            "inspected; this is no clean result"
        )
    return "NOTHING TO INSPECT: the model has no BatchNorm; this says nothing about other layers"


LEGEND: Final = (
    "d: distance of batch from running statistics, in standard deviations of the layer's output; "
    "┊ and floor: what chance alone gives at this batch size"
)


def _table(report: Report, width: int) -> Iterator[str]:
    rows = [("layer", "fed by", "values", "d", "floor", "cumul.")]
    rows += [_row(layer) for layer in report.layers]
    others = [max(map(len, column)) for column in list(zip(*rows))[1:]]
    room = width - BAR - 1 - sum(others) - len(others) - 2
    names = _fitting([row[0] for row in rows[1:]], room)
    column = max(map(len, names))
    bars = [f"0{'d':^{BAR - 2}}1", *(bar(layer.d, layer.floor) for layer in report.layers)]
    for name, (_, fed, *numbers), drawn in zip(names, rows, bars):
        shown = " ".join(f"{cell:>{size}}" for cell, size in zip(numbers, others[1:]))
        yield f"{name:<{column}}  {fed:<{others[0]}} {shown} {drawn}"
    yield from textwrap.wrap(LEGEND, width, initial_indent="  ", subsequent_indent="  ")


def _row(layer: LayerReport) -> tuple[str, str, str, str, str, str]:
    fed = "+".join(sorted(layer.producers))[:12]
    numbers = (layer.values_per_channel, layer.d, layer.floor, layer.cumulative)
    values, d, floor, cumulative = map(number, numbers)
    return _name(layer), fed, values, d, floor, cumulative


def _fitting(names: list[str], room: int) -> list[str]:
    """A heading and the names, without what they all begin with when they are too long."""
    title = "layer"
    if max(map(len, names)) > room:
        columns = zip(*(name.split(".")[:-1] for name in names))
        shared = ".".join(c[0] for c in takewhile(lambda c: len(set(c)) == 1, columns))
        if shared:
            title = "layer of "
            title += _ending(shared, room - len(title))
            names = [name.removeprefix(f"{shared}.") for name in names]
    return [title, *(_ending(name, room) for name in names)]


def _ending(name: str, room: int) -> str:
    """The name, or as much of its end as there is room for."""
    return name if len(name) <= room else "…" + name[1 - room :]


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


def _batch_sizes(report: Report, width: int) -> Iterator[str]:
    """The curve of the layer that needs the largest batch."""
    worst = worst_layers(report, 1)
    if not worst or report.synthetic:
        return
    predicted, measured = curve(worst[0].numbers), measured_curve_of(worst[0])
    yield f"drift that chance alone gives, by batch size (worst layer: {_name(worst[0])})"[:width]
    yield "  samples  " + "".join(f"{size:>7}" for size in predicted)
    yield "  predicted" + "".join(f"{value:>7.3f}" for value in predicted.values())
    if measured:
        found = (number(measured.get(size)) for size in predicted)
        yield "  measured " + "".join(f"{value:>7}" for value in found)


def _processes(report: Report) -> Iterator[str]:
    ranks = report.ranks
    if ranks is None:
        return
    batches = ", ".join("?" if batch is None else str(batch) for batch in ranks.batches)
    together = f" ({ranks.global_batch} together)" if ranks.global_batch is not None else ""
    yield f"this is process {ranks.rank} of {ranks.world}; their batches: {batches}{together}"
    if ranks.worst is not None:
        layer, divergence = ranks.worst
        yield f"their running statistics differ by d = {divergence:.3f} at most ('{layer}')"


def _findings(report: Report, width: int) -> Iterator[str]:
    yield ""
    shown = report.shown
    if not shown:
        yield "no findings" if report.layers else "no findings, but nothing was measured either"
        return
    yield counted(len(shown), "finding")
    for finding in shown:
        text = f"{where(finding)}{finding.code} [{finding.severity.label}] {finding.message}"
        yield from _wrapped(text, width, "  ")
        for evidence in finding.evidence:
            yield from _wrapped(f"= {step(evidence)}", width, "    ")


_LABELS: Final = {Role.INSTANCE: "also", Role.CAUSE: "because", Role.CONTEXT: "note"}


def step(evidence: Evidence) -> str:
    """One step of a finding's proof in one line."""
    return f"{_LABELS[evidence.role]}: {_position(evidence.place)}: {evidence.message}"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _position(place: Place) -> str:
    return f"{shown_path(place.path)}:{place.line}"


def counted(amount: int, noun: str) -> str:
    """The amount with its noun: `1 finding`, `2 findings`."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def where(finding: Finding) -> str:
    """The finding's place, or the module's name where there is no source."""
    if finding.place is not None:
        return f"{_position(finding.place)}: "
    return f"{finding.module}: " if finding.module else ""


def _uninspected(report: Report, width: int) -> Iterator[str]:
    if not report.uninspected:
        return
    yield ""
    yield f"not inspected ({len(report.uninspected)})"
    for part in report.uninspected:
        yield from _wrapped(f"{part.name or report.title}: {part.reason}", width, "  ")


def number(value: float | int | None) -> str:
    """A number of a table; a dash for None."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"[:6]


def percent(value: object) -> str:
    """A share as a percentage; a dash for None."""
    return f"{value:.1%}" if isinstance(value, (int, float)) else "-"
