"""What is not done because it cannot matter, and what is done all the same."""

from __future__ import annotations

import gc

import pytest
from drawn import codes_of, project_of

from bnlint.source import ir
from bnlint.source.collecting import YOUNGEST, collecting_rarely
from bnlint.source.evaluate.cloning import MOST_OBJECTS, Template, Templates
from bnlint.source.store import Store
from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import ClassObject, External, Frame, Instance, Known, ModuleScope

HEAD = """\
import torch
from torch import nn


def build(layers, width=8, pretrained=False):
    net = nn.Sequential(*[nn.BatchNorm1d(width) for _ in range(layers)])
    if pretrained:
        net.load_state_dict(torch.load("a.pt"))
    return net


"""


def followed(text: str) -> set[int]:
    """The lines of the definitions that were followed."""
    tracing = TraceArtist(project_of(a=HEAD + text))
    tracing.draw_traces()
    scope = tracing.project.scope("/p/a.py")
    assert scope is not None
    spans = {key[1] for key in tracing.machine.called if isinstance(key[1], tuple)}
    return {scope.facts.place(span).line for span in spans}  # type: ignore[arg-type]


def factory(name: str, call: str) -> str:
    return f"def {name}():\n    return build({call})\n\n\n"


def test_of_a_row_of_silent_factories_one_is_followed() -> None:
    rows = "".join(factory(f"net{n}", str(n)) for n in (10, 20, 30))
    first = HEAD.count("\n") + 1
    lines = followed(rows)
    assert first in lines
    assert first + 4 not in lines
    assert first + 8 not in lines


@pytest.mark.parametrize("call", ["20, pretrained=True", "20, width=9", "len(HEAD)", "20, None"])
def test_another_flag_keyword_or_name_makes_a_factory_another_one(call: str) -> None:
    first = HEAD.count("\n") + 1
    assert {first, first + 4} <= followed(factory("net10", "10") + factory("other", call))


def test_a_factory_is_followed_where_one_like_it_had_something_to_say() -> None:
    text = """\
def check{n}(x):
    model = build({n})
    model.eval()
    return model(x)


"""
    first = HEAD.count("\n") + 1
    assert {first, first + 6} <= followed(text.format(n=1) + text.format(n=2))


CLOSURE = """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
model.load_state_dict(torch.load("a.pt"))


def make(flag):
    chosen = model
    if flag:
        chosen.eval()

        def run(x):
            return chosen(x)

        return run
    return lambda x: chosen(x)


with torch.no_grad():
    print(make({flag})(torch.load("x.pt")).argmax(1))
"""


@pytest.mark.parametrize(("flag", "codes"), [("True", []), ("False", ["BNL101"])])
def test_variables_of_a_closure_outlive_its_call(flag: str, codes: list[str]) -> None:
    text = CLOSURE.replace("{flag}", flag)
    assert [code for code, _ in codes_of(text) if code == "BNL101"] == codes


# --- the store names states ----------------------------------------------------------------------


def module() -> Instance:
    scope = ModuleScope("a", project_of(a="").facts("/p/a.py"))  # type: ignore[arg-type]
    definition = ir.Class("Net", (), (), (), (0, 0), (0, 0))
    cls = ClassObject(definition, scope, (External("torch.nn.Module"),), "a.Net")
    return Instance(cls, None)


def test_a_state_that_comes_back_has_its_old_name() -> None:
    store, net = Store(), module()
    before = store.version
    store.begin()
    store.write(net, "a", Known(1))
    assert store.version != before
    store.rollback()
    assert store.version == before
    store.write(net, "a", Known(2))
    assert store.version != before


def test_writing_what_is_there_already_changes_no_state() -> None:
    store, net, value = Store(), module(), Known(1)
    store.write(net, "a", value)
    before = store.version
    store.write(net, "a", value)
    assert store.version == before


def test_what_is_no_part_of_a_module_changes_no_state() -> None:
    store = Store()
    scope = module().cls.frame
    before = store.version
    store.write(Frame(scope.module), "a", Known(1))
    assert store.version == before


def test_a_permanent_write_renames_all_states_around_it() -> None:
    store, net = Store(), module()
    before = store.version
    store.begin()
    with store.permanent():
        store.write(net, "a", Known(1))
    store.rollback()
    assert net.value("a") == Known(1)
    assert store.version != before


# --- garbage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "inside"),
    [((700, 10, 10), (YOUNGEST, 10, 10)), ((0, 10, 10), (0, 10, 10)), ((YOUNGEST + 1, 1, 1),) * 2],
)
def test_the_collector_gets_its_pace_back(
    own: tuple[int, int, int], inside: tuple[int, int, int]
) -> None:
    before = gc.get_threshold()
    gc.set_threshold(*own)
    try:
        with pytest.raises(ValueError, match="stopped"), collecting_rarely():
            assert gc.get_threshold() == inside
            raise ValueError("stopped")
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)


def steps(text: str) -> int:
    """How many steps the traces of a program take."""
    tracing = TraceArtist(project_of(a=HEAD + text))
    before = tracing.allowance
    tracing.draw_traces()
    assert tracing.traces, "the script was given up"
    return before - tracing.allowance


WALK = """
import sys

class Graph:
    def __init__(self, path):
        self.edges = torch.load(path)

    def order(self, node, visited):
        torch.load(node)
        here = visited + [node]
        if node in visited:
            raise ValueError(here)
        for other in self.edges[node].targets:
            for found in self.order(other, here):
                yield found
            for found in self.order(other, visited=here):
                yield found
        yield node

for first in Graph(sys.argv[1]).order(sys.argv[2], []):
    print(first)
net = build(2)
net.eval()
"""


def test_a_recursion_over_unknown_things_ends_however_its_list_grows() -> None:
    assert steps(WALK) < 5_000


NESTED = """
import sys

rows = []
for name in sys.argv:
    if name in sys.path:
        rows.append([name])
    else:
        rows.append(name)
for a in rows:
    for b in rows:
        for c in rows:
            for d in rows:
                for e in rows:
                    print(a, b, c, d, e)
net = build(2)
net.eval()
"""


def test_rounds_over_unknown_things_are_not_told_apart() -> None:
    assert steps(NESTED) < 2_000


OFFSETS = """
points = [(a, b) for a in range(8) for b in range(8)]
known = {}
for a in points:
    for b in points:
        offset = (abs(a[0] - b[0]), abs(a[1] - b[1]))
        if offset not in known:
            known[offset] = len(known)
net = build(2)
net.eval()
"""


def test_loops_in_loops_that_only_calculate_end_early() -> None:
    assert steps(OFFSETS) < 12_000


def test_templates_forget_the_oldest_when_they_hold_many_objects() -> None:
    project = project_of(a="class Net:\n    pass\nnet = Net()\n")
    TraceArtist(project).load_all()
    scope = project.scope("/p/a.py")
    net = None if scope is None else scope.value("net")
    assert isinstance(net, Instance)
    templates = Templates()
    for key, size in (("first", MOST_OBJECTS // 2), ("second", MOST_OBJECTS // 2), ("third", 1)):
        templates.keep(key, Template(net, size, 1, frozenset()))
    assert [templates.get(key) is None for key in ("first", "second", "third")] == [
        True,
        False,
        False,
    ]
