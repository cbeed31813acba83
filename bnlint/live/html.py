"""A report as HTML without scripts and without other files."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Final

from bnlint.live.text import (
    FULL_SCALE,
    LEGEND,
    OUTPUT_LINES,
    SYNTHETIC,
    heading,
    number,
    percent,
    seen_line,
    step,
    where,
)

if TYPE_CHECKING:
    from bnlint.live.report import LayerReport, Report

_STYLE: Final = """\
.bnlint { font: 14px system-ui, sans-serif; }
.bnlint table { border-collapse: collapse; }
.bnlint td, .bnlint th { padding: 2px 8px; text-align: right; }
.bnlint td:first-child, .bnlint th:first-child { text-align: left; font-family: monospace; }
.bnlint .bar { position: relative; width: 200px; height: 12px; background: #eee; }
.bnlint .bar i { position: absolute; left: 0; top: 0; height: 12px; background: #4477aa; }
.bnlint .bar b { position: absolute; top: 0; height: 12px; border-left: 2px solid #cc3311; }
.bnlint .banner { background: #fff3cd; padding: 8px; border: 2px solid #cc3311; }
.bnlint .error { color: #cc3311; }
"""


def page(report: Report) -> str:
    """A complete document."""
    title = escape(f"bnlint check: {report.title}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body>{body(report)}</body></html>\n"
    )


def body(report: Report) -> str:
    """The report as a fragment, for notebooks."""
    return f'<div class="bnlint"><style>{_STYLE}</style>{"".join(_parts(report))}</div>'


def _parts(report: Report) -> Iterator[str]:
    yield f"<h2>{escape(heading(report))}</h2><p>{escape(seen_line(report))}</p>"
    if report.synthetic:
        yield f'<p class="banner">{SYNTHETIC}</p>'
    yield from _findings(report)
    yield from _output(report)
    if report.layers:
        rows = "".join(_row(layer) for layer in report.layers)
        yield (
            "<h3>BatchNorm calls</h3><table><tr><th>layer</th><th>fed by</th><th>values</th>"
            f"<th>d</th><th>floor</th><th>cumulative</th><th>d, 0 to 1</th></tr>{rows}</table>"
            f"<p>{escape(LEGEND.replace('┊', 'red line'))}</p>"
        )
    if report.uninspected:
        items = "".join(
            f"<li><code>{escape(part.name or report.title)}</code>: {escape(part.reason)}</li>"
            for part in report.uninspected
        )
        yield f"<h3>Not inspected</h3><ul>{items}</ul>"


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        measured = "" if report.layers else ", but nothing was measured either"
        yield f"<p>No findings{measured}.</p>"
        return
    items = "".join(
        f'<li class="{finding.severity.label}">{escape(where(finding))}<b>{finding.code}</b> '
        f"{finding.severity.label}: {escape(finding.message)}"
        f"{''.join(f'<br>{escape(step(evidence))}' for evidence in finding.evidence)}</li>"
        for finding in report.findings
    )
    yield f"<h3>Findings</h3><ul>{items}</ul>"


def _output(report: Report) -> Iterator[str]:
    rows = "".join(
        f"<tr><td>{escape(text)}</td><td>{percent(report.output[key])}</td></tr>"
        for key, text in OUTPUT_LINES
        if key in report.output
    )
    if rows:
        yield f"<h3>Output</h3><table>{rows}</table>"


def _row(layer: LayerReport) -> str:
    cells = (
        escape(layer.name if not layer.call else f"{layer.name} ({layer.call + 1})"),
        escape("+".join(sorted(layer.producers))),
        number(layer.values_per_channel),
        number(layer.d),
        number(layer.floor),
        number(layer.cumulative),
        _bar(layer),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _bar(layer: LayerReport) -> str:
    if layer.d is None:
        return "not measured"
    mark = ""
    if layer.floor is not None:
        mark = f'<b style="left:{_share(layer.floor):.1f}%"></b>'
    return f'<div class="bar"><i style="width:{_share(layer.d):.1f}%"></i>{mark}</div>'


def _share(value: float) -> float:
    return min(max(value / FULL_SCALE, 0.0), 1.0) * 100
