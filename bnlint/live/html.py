"""A report as one HTML page that needs no other file: findings, charts, a table to sort."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Final

from bnlint.finding import Finding
from bnlint.live.charts import curve_chart, drift_chart, name_of
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
from bnlint.rules import find_rule

if TYPE_CHECKING:
    from bnlint.live.report import LayerReport, Report

_STYLE: Final = """\
.bnlint { font: 14px/1.45 system-ui, sans-serif; max-width: 1100px; }
.bnlint table { border-collapse: collapse; }
.bnlint td, .bnlint th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #8883; }
.bnlint td.text, .bnlint th.text { text-align: left; }
.bnlint td.name { font-family: ui-monospace, monospace; }
.bnlint .sortable th { cursor: pointer; user-select: none; white-space: nowrap; }
.bnlint .sortable th:hover { background: #8882; }
.bnlint .sortable th[aria-sort=ascending]::after { content: " \\25B2"; }
.bnlint .sortable th[aria-sort=descending]::after { content: " \\25BC"; }
.bnlint .bar { position: relative; width: 160px; height: 12px; background: #8883; }
.bnlint .bar i { position: absolute; left: 0; top: 0; height: 12px; background: #4477aa; }
.bnlint .bar b { position: absolute; top: 0; height: 12px; border-left: 2px solid #cc3311; }
.bnlint .banner { background: #fff3cd; color: #000; padding: 8px; border: 2px solid #cc3311; }
.bnlint .findings { list-style: none; padding: 0; }
.bnlint .findings > li { border-left: 4px solid #888; padding: 2px 12px; margin: 10px 0; }
.bnlint .findings > .error { border-color: #cc3311; }
.bnlint .findings > .warning { border-color: #dd8800; }
.bnlint .label { font-weight: 600; }
.bnlint .error .label { color: #cc3311; }
.bnlint td.part { padding-left: 30px; }
.bnlint .evidence { margin: 2px 0 2px 16px; opacity: .8; }
.bnlint details { margin: 4px 0; }
.bnlint summary { cursor: pointer; }
.bnlint pre { overflow-x: auto; background: #8881; padding: 8px; }
.bnlint .chart { overflow-x: auto; }
.bnlint svg { font: 11px system-ui, sans-serif; }
.bnlint svg text { fill: currentColor; }
"""

_SCRIPT: Final = """\
for (const table of document.querySelectorAll(".bnlint table.sortable:not([data-armed])")) {
  table.dataset.armed = "yes";
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "descending";
    const value = row => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? order : -order;
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  }));
}
"""


def page(report: Report) -> str:
    """A complete document."""
    title = escape(f"bnlint check: {report.title}")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>:root {{ color-scheme: light dark; }}</style></head>"
        f"<body>{body(report)}</body></html>\n"
    )


def body(report: Report) -> str:
    """The report as a fragment, for notebooks."""
    parts = "".join(_parts(report))
    return f'<div class="bnlint"><style>{_STYLE}</style>{parts}<script>{_SCRIPT}</script></div>'


def _parts(report: Report) -> Iterator[str]:
    yield f"<h2>{escape(heading(report))}</h2><p>{escape(seen_line(report))}</p>"
    if report.synthetic:
        yield f'<p class="banner">{escape(SYNTHETIC)}</p>'
    yield from _findings(report)
    yield from _output(report)
    if report.layers:
        yield from _layers(report)
    if report.uninspected:
        items = "".join(
            f"<li><code>{escape(part.name or report.title)}</code>: {escape(part.reason)}</li>"
            for part in report.uninspected
        )
        yield f"<h3>Not inspected</h3><ul>{items}</ul>"


def _findings(report: Report) -> Iterator[str]:
    if not report.shown:
        measured = "" if report.layers else ", but nothing was measured either"
        yield f"<p>No findings{measured}.</p>"
        return
    items = "".join(_finding(finding) for finding in report.shown)
    yield f'<h3>Findings</h3><ul class="findings">{items}</ul>'


def _finding(finding: Finding) -> str:
    label = finding.severity.label
    steps = "".join(
        f'<div class="evidence">{escape(step(evidence))}</div>' for evidence in finding.evidence
    )
    return (
        f'<li class="{label}">{escape(where(finding))}<span class="label">{escape(finding.code)} '
        f"{label}</span> {escape(finding.name)}<br>{escape(finding.message)}{steps}"
        f"{_advice(finding)}</li>"
    )


def _advice(finding: Finding) -> str:
    """What the rule's page says, folded away."""
    rule = find_rule(finding.code)
    if rule is None:
        return ""
    links = "".join(_reference(reference) for reference in rule.references)
    return (
        f"<details><summary>{escape(rule.summary)}</summary>{_markdown(rule.why)}"
        f"<h4>When this is fine</h4>{_markdown(rule.fine_when)}"
        f"<h4>References</h4><ul>{links}</ul></details>"
    )


def _reference(reference: str) -> str:
    title, _, address = reference.rstrip(">").rpartition(" <")
    return f'<li><a href="{escape(address)}">{escape(title)}</a></li>'


def _markdown(text: str) -> str:
    """The little Markdown of the rules' pages: paragraphs, lists, indented code, `code`."""
    return "".join(_paragraph(part) for part in re.split(r"\n\n+", text))


def _paragraph(text: str) -> str:
    if text.startswith("    "):
        return f"<pre>{escape(text)}</pre>"
    lead, *items = re.split(r"(?:^|\n)- ", text)
    listed = "".join(f"<li>{_inline(item)}</li>" for item in items)
    return (f"<p>{_inline(lead)}</p>" if lead else "") + (f"<ul>{listed}</ul>" if listed else "")


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _output(report: Report) -> Iterator[str]:
    rows = "".join(
        f'<tr><td class="text{" part" if text.startswith(" ") else ""}">{escape(text.strip())}</td>'
        f"<td>{percent(report.output[key])}</td></tr>"
        for key, text in OUTPUT_LINES
        if key in report.output
    )
    if rows:
        yield f"<h3>Output</h3><table>{rows}</table>"


def _layers(report: Report) -> Iterator[str]:
    yield (
        "<h3>Drift by layer</h3><p>Bars: d. Red lines: what chance alone gives at this batch size. "
        f"Dots: cumulative drift.</p>{drift_chart(report)}"
    )
    curves = curve_chart(report)
    if curves:
        yield (
            "<h3>Drift by batch size</h3><p>Lines: predicted, in colour the layers that need the "
            "largest batch. Circles: measured on random parts of the batch. Dashed: where BNL301 "
            f"begins to speak.</p>{curves}"
        )
    rows = "".join(_row(index, layer) for index, layer in enumerate(report.layers, 1))
    yield (
        '<h3>BatchNorm calls</h3><table class="sortable"><thead><tr><th>#</th>'
        '<th class="text">layer</th><th class="text">fed by</th><th class="text">feeds</th>'
        "<th>values</th><th>d</th><th>floor</th><th>cumulative</th>"
        f'<th class="text">d, 0 to 1</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<p>{escape(LEGEND.replace('┊', 'red line'))}</p>"
    )


def _row(index: int, layer: LayerReport) -> str:
    fed, feeds = ("+".join(sorted(kinds)) for kinds in (layer.producers, layer.consumers))
    cells = [
        _cell(str(index), str(index)),
        _cell(name_of(layer), name_of(layer), "text name"),
        _cell(fed, fed, "text"),
        _cell(feeds, feeds, "text"),
    ]
    numbers = (layer.values_per_channel, layer.d, layer.floor, layer.cumulative)
    cells += [_cell(number(v), "" if v is None else str(v)) for v in numbers]
    value = "" if layer.d is None else str(layer.d)
    cells.append(f'<td class="text" data-value="{value}">{_bar(layer)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, value: str, kind: str = "") -> str:
    cls = f' class="{kind}"' if kind else ""
    return f'<td{cls} data-value="{escape(value)}">{escape(text)}</td>'


def _bar(layer: LayerReport) -> str:
    if layer.d is None:
        return "not measured"
    mark = ""
    if layer.floor is not None:
        mark = f'<b style="left:{_share(layer.floor):.1f}%"></b>'
    return f'<div class="bar"><i style="width:{_share(layer.d):.1f}%"></i>{mark}</div>'


def _share(value: float) -> float:
    return min(max(value / FULL_SCALE, 0.0), 1.0) * 100
