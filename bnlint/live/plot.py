"""A report as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnlint.live.charts import SHOWN, measured_curve_of, name_of, worst_layers
from bnlint.live.curve import BATCH_SIZES
from bnlint.live.errors import CheckError
from bnlint.rules.bnl301 import LARGEST_DRIFT
from bnlint.rules.curves import curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bnlint.live.report import Report


def figure(report: Report) -> Figure:
    """Drift, noise floor and cumulative drift by call; expected drift by batch size.

    Raises CheckError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise CheckError('matplotlib is not installed: pip install "bnlint[plot]"') from error
    size = (max(8.0, 0.22 * len(report.layers)), 8.0)
    canvas = Canvas(figsize=size, layout="constrained")
    by_layer, by_size = canvas.subplots(2, 1)
    _draw_layers(by_layer, report)
    _draw_curves(by_size, report)
    return canvas


def _draw_layers(axes: Any, report: Report) -> None:
    calls = range(len(report.layers))
    axes.bar(calls, _series([layer.d for layer in report.layers]), label="d")
    floors = _series([layer.floor for layer in report.layers])
    axes.step(calls, floors, where="mid", color="tab:red", label="noise floor")
    cumulative = _series([layer.cumulative for layer in report.layers])
    axes.plot(calls, cumulative, ".", color="black", label="cumulative")
    axes.set_xticks(list(calls), [name_of(layer) for layer in report.layers], rotation=90)
    axes.set_ylabel("drift (standard deviations)")
    synthetic = " (synthetic input)" if report.synthetic else ""
    axes.set_title(f"{report.title}{synthetic}", parse_math=False)
    axes.legend()


def _draw_curves(axes: Any, report: Report) -> None:
    marked = worst_layers(report, SHOWN)
    for layer in report.layers:
        known = sorted(curve(layer.numbers).items())
        if known and layer not in marked:
            axes.plot(*zip(*known), color="lightgrey", linewidth=0.8, zorder=1)
    for layer in marked:
        (line,) = axes.plot(*zip(*sorted(curve(layer.numbers).items())), label=name_of(layer))
        measured = sorted(measured_curve_of(layer).items())
        if measured:
            axes.plot(*zip(*measured), "o", fillstyle="none", color=line.get_color())
    axes.axhline(LARGEST_DRIFT, color="tab:red", linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(BATCH_SIZES, [str(size) for size in BATCH_SIZES])
    axes.set_xlabel("samples in a batch (lines predicted, circles measured)")
    axes.set_ylabel("expected drift")
    if marked:
        axes.legend()


def _series(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
