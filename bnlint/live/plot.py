"""A report as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.live.errors import CheckError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bnlint.live.report import Report


def figure(report: Report) -> Figure:
    """Drift, noise floor and cumulative drift of each BatchNorm call, in the order of the forward.

    Raises CheckError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise CheckError('matplotlib is not installed: pip install "bnlint[plot]"') from error
    calls = range(len(report.layers))
    nothing = float("nan")

    def series(values: list[float | None]) -> list[float]:
        return [nothing if value is None else value for value in values]

    canvas = Canvas(figsize=(max(6.0, 0.25 * len(report.layers)), 4.0), layout="constrained")
    axes = canvas.add_subplot()
    axes.bar(calls, series([layer.d for layer in report.layers]), label="d")
    floors = series([layer.floor for layer in report.layers])
    axes.step(calls, floors, where="mid", color="tab:red", label="noise floor")
    cumulative = series([layer.cumulative for layer in report.layers])
    axes.plot(calls, cumulative, ".", color="black", label="cumulative")
    axes.set_xticks(list(calls), [layer.name for layer in report.layers], rotation=90)
    axes.set_ylabel("drift (standard deviations)")
    synthetic = " (synthetic input)" if report.synthetic else ""
    axes.set_title(f"{report.title}{synthetic}")
    axes.legend()
    return canvas
