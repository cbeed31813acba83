"""The batch-size curve that the live half predicts for a layer, as the rules read it."""

from __future__ import annotations

from bnlint.finding import Measurement

_PREFIX = "drift_at_"


def curve(numbers: Measurement) -> dict[int, float]:
    """Expected drift of a layer by batch size, as far as it could be predicted."""
    return {
        int(name.removeprefix(_PREFIX)): float(value)
        for name, value in numbers.items()
        if name.startswith(_PREFIX) and isinstance(value, int | float)
    }


def expected_drift(numbers: Measurement, batch: int) -> float | None:
    """The expected drift at any batch size, between the sizes that were predicted.

    It falls as 1 / sqrt(n) but for a term of second order, so the nearest size at or above is
    scaled; of a size beyond the curve nothing is said.
    """
    sizes = sorted(size for size in curve(numbers) if size >= batch)
    if not sizes:
        return None
    return curve(numbers)[sizes[0]] * float((sizes[0] / batch) ** 0.5)


def sufficient_batch(numbers: Measurement, limit: float) -> int | None:
    """The smallest size of the curve from which on the expected drift is at most `limit`."""
    return min((size for size, drift in curve(numbers).items() if drift <= limit), default=None)
