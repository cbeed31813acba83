"""Functions that are given layers and data."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "run_all",
        """\
def run_all(layers, x):
    for layer in layers:
        x = layer(x)
    return x

""",
    ),
    Part(
        "run_two",
        """\
def run_two(first, second, x, act=F.relu):
    return second(act(first(x)))

""",
    ),
    Part(
        "compose",
        """\
def compose(*functions):
    def run(x):
        for function in functions:
            x = function(x)
        return x

    return run

""",
    ),
    Part(
        "twice",
        """\
def twice(function):
    @functools.wraps(function)
    def wrapper(self, x):
        return function(self, function(self, x))

    return wrapper

""",
    ),
    Part(
        "named",
        """\
def named(name):
    def decorate(function):
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    return decorate

""",
    ),
)
