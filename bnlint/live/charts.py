"""The two charts of a report as SVG: drift by layer, and drift by batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from bnlint.rules.bnl301 import LARGEST_DRIFT
from bnlint.rules.curves import curve

if TYPE_CHECKING:
    from bnlint.live.report import LayerReport, Report

HEIGHT: Final = 240
LEFT: Final = 44
RIGHT: Final = 12
TOP: Final = 14
BOTTOM: Final = 96
NARROWEST: Final = 560
STEP: Final = 14
"""Width of one layer in the chart of layers, at least."""
LABELS: Final = 60
"""Layers that get a label each; of more, every few only."""
COLOURS: Final = ("#4477aa", "#ee6677", "#228833")
SHOWN: Final = len(COLOURS)
"""Layers whose curve is drawn in colour: those with the largest drift at a batch of 8."""


def name_of(layer: LayerReport) -> str:
    """A layer's name, with the number of its call where it is called more than once."""
    return f"{layer.name} ({layer.call + 1})" if layer.call else layer.name


def drift_chart(report: Report) -> str:
    """d of each call as a bar, its noise floor as a line, cumulative drift as a dot."""
    layers = report.layers
    values = [v for layer in layers for v in (layer.d, layer.floor, layer.cumulative)]
    top = ceiling([value for value in values if value is not None])
    width = max(NARROWEST, LEFT + RIGHT + STEP * len(layers))
    step = (width - LEFT - RIGHT) / max(len(layers), 1)
    parts = [*_grid(width, top)]
    for index, layer in enumerate(layers):
        parts += _call(layer, LEFT + index * step, step, top)
        if index % max(1, math.ceil(len(layers) / LABELS)) == 0:
            parts.append(_label(layer, LEFT + (index + 0.5) * step))
    return _svg(width, HEIGHT + BOTTOM, "drift by layer", parts)


def curve_chart(report: Report) -> str:
    """Expected drift against batch size: lines predicted, dots measured; "" where none is known."""
    curves = [(layer, curve(layer.numbers)) for layer in report.layers]
    curves = [(layer, known) for layer, known in curves if known]
    if not curves:
        return ""
    sizes = sorted({size for _, known in curves for size in known})
    top = ceiling([value for _, known in curves for value in known.values()])
    marked = worst_layers(report, SHOWN)
    parts = [*_grid(NARROWEST, top), *_sizes(sizes), _threshold(top)]
    for layer, known in curves:
        if layer not in marked:
            parts.append(_line(known, sizes, top, "#bbb", 1))
    for layer, colour, row in zip(marked, COLOURS, range(SHOWN)):
        parts.append(_line(curve(layer.numbers), sizes, top, colour, 2))
        parts += _dots(measured_curve_of(layer), sizes, top, colour)
        parts.append(
            f'<text x="{NARROWEST - RIGHT}" y="{TOP + 14 * (row + 1)}" text-anchor="end" '
            f'style="fill: {colour}">{escape(name_of(layer))}</text>'
        )
    return _svg(NARROWEST, HEIGHT + 36, "expected drift by batch size", parts)


def worst_layers(report: Report, count: int) -> list[LayerReport]:
    """The layers whose expected drift at a batch of 8 is largest."""
    known = [layer for layer in report.layers if 8 in curve(layer.numbers)]
    return sorted(known, key=lambda layer: -curve(layer.numbers)[8])[:count]


def measured_curve_of(layer: LayerReport) -> dict[int, float]:
    """Drift that was measured on random parts of the batch, by their size."""
    prefix = "measured_at_"
    return {
        int(name.removeprefix(prefix)): float(value)
        for name, value in layer.numbers.items()
        if name.startswith(prefix) and isinstance(value, int | float)
    }


def ceiling(values: Sequence[float]) -> float:
    """The top of an axis: a round number at or above most values, at most 2."""
    highest = min(max(values, default=0.0), 2.0)
    return next((top for top in (0.1, 0.2, 0.5, 1.0) if highest <= top), 2.0)


def _call(layer: LayerReport, left: float, step: float, top: float) -> Iterator[str]:
    if layer.d is not None:
        y = _y(layer.d, top)
        over = " (off the scale)" if layer.d > top else ""
        yield (
            f'<rect x="{left + step * 0.15:.1f}" y="{y:.1f}" width="{step * 0.7:.1f}" '
            f'height="{HEIGHT - y:.1f}" fill="#4477aa"><title>{escape(name_of(layer))}: '
            f"d {layer.d:.3f}{over}</title></rect>"
        )
    if layer.floor is not None:
        y = _y(layer.floor, top)
        yield (
            f'<line x1="{left:.1f}" x2="{left + step:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#cc3311" stroke-width="2"><title>{escape(name_of(layer))}: noise floor '
            f"{layer.floor:.3f}</title></line>"
        )
    if layer.cumulative is not None:
        yield (
            f'<circle cx="{left + step / 2:.1f}" cy="{_y(layer.cumulative, top):.1f}" r="2.5" '
            f'fill="currentColor"><title>{escape(name_of(layer))}: cumulative '
            f"{layer.cumulative:.3f}</title></circle>"
        )


def _label(layer: LayerReport, x: float) -> str:
    name = name_of(layer)
    shown = name if len(name) <= 18 else "…" + name[-17:]
    return (
        f'<text transform="translate({x + 4:.1f} {HEIGHT + 8}) rotate(-60)" '
        f'text-anchor="end">{escape(shown)}</text>'
    )


def _grid(width: float, top: float) -> Iterator[str]:
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _y(share * top, top)
        yield f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:.3g}</text>'


def _sizes(sizes: Sequence[int]) -> Iterator[str]:
    for size in sizes:
        x = _x(size, sizes)
        yield f'<text x="{x:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{size}</text>'
    middle = (LEFT + NARROWEST - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT + 32}" text-anchor="middle">samples in a batch</text>'


def _threshold(top: float) -> str:
    y = _y(LARGEST_DRIFT, top)
    return (
        f'<line x1="{LEFT}" x2="{NARROWEST - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#cc3311" '
        f'stroke-dasharray="4 3"><title>BNL301 speaks above {LARGEST_DRIFT:g}</title></line>'
    )


def _line(
    known: dict[int, float], sizes: Sequence[int], top: float, colour: str, width: int
) -> str:
    points = " ".join(f"{_x(s, sizes):.1f},{_y(v, top):.1f}" for s, v in sorted(known.items()))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _dots(known: dict[int, float], sizes: Sequence[int], top: float, colour: str) -> Iterator[str]:
    for size, value in known.items():
        yield (
            f'<circle cx="{_x(size, sizes):.1f}" cy="{_y(value, top):.1f}" r="3.5" fill="none" '
            f'stroke="{colour}" stroke-width="1.5"><title>measured at {size}: {value:.3f}</title>'
            "</circle>"
        )


def _x(size: int, sizes: Sequence[int]) -> float:
    span = math.log2(sizes[-1] / sizes[0]) or 1.0
    return LEFT + 12 + math.log2(size / sizes[0]) / span * (NARROWEST - LEFT - RIGHT - 24)


def _y(value: float, top: float) -> float:
    return TOP + (1 - min(max(value / top, 0.0), 1.0)) * (HEIGHT - TOP)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<div class="chart"><svg role="img" aria-label="{escape(title)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg></div>'
    )
