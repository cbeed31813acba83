"""Which graphs are drawn of a project: also of what the defaults and forward() leave out."""

from __future__ import annotations

import pytest
from drawn import HEADER, feeds, graph_of, graphs_of, names, norms, project_of

from bnlint.graph import Kind, LayerGraph
from bnlint.source.draw import draw


def drawn_with_batchnorm(text: str) -> list[LayerGraph]:
    """The graphs of one file that hold a BatchNorm that something runs."""
    graphs = draw(project_of(main=HEADER + text)).graphs
    return [graph for graph in graphs if norms(graph) and len(graph.nodes) > 2]


OPTIONAL = """
class Net(nn.Module):
    def __init__(self, widths=None):
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.head = self._head(widths)

    def _head(self, widths):
        if widths is None:
            return None
        layers = []
        for width in widths:
            layers += [nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.body(x)
        if self.head is not None:
            x = self.head(x)
        return x
"""


def test_an_argument_that_is_none_by_default_is_given_once() -> None:
    (graph,) = drawn_with_batchnorm(OPTIONAL)
    assert graph.binding == "its optional arguments given"
    assert feeds(graph) == "linear"


OTHER_METHOD = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.bn = nn.BatchNorm1d(8)
        self.matcher = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU())

    def forward(self, x):
        return self.fc(x)

    def loss(self, x, target):
        return F.cross_entropy(self.bn(self(x)), target)
"""


def test_layers_that_forward_leaves_out_are_found_in_other_methods_and_in_parts() -> None:
    graphs = drawn_with_batchnorm(OTHER_METHOD)
    assert [(graph.title, feeds(graph)) for graph in graphs] == [
        ("Net.loss", "linear"),
        ("Net.matcher", "linear"),
    ]


def test_a_container_given_to_an_unknown_call_is_drawn() -> None:
    text = """
from elsewhere import Pooling

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = Pooling(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()))

    def forward(self, x):
        return self.pool(x)
"""
    (graph,) = drawn_with_batchnorm(text)
    assert feeds(graph) == "linear"


FLAGS = """
class Block(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.first = first

    def forward(self, x):
        x = self.conv(x)
        if self.first:
            x = F.relu(x)
        return self.bn(x)

def plain():
    return nn.Sequential(Block(False))

def odd():
    return nn.Sequential(Block(True), nn.Flatten())
"""


def test_each_shape_of_a_block_is_drawn() -> None:
    assert {feeds(graph) for graph in drawn_with_batchnorm(FLAGS)} == {"conv", "activation"}


def test_a_factory_of_a_bare_batchnorm_has_the_input_before_it() -> None:
    graph = graph_of("def norm(width):\n    return nn.BatchNorm2d(width)\n", "norm")
    assert feeds(graph) == "input"


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        ('hasattr(self, "merged")', "batchnorm conv"),
        ('getattr(self, "merged", None) is not None', "batchnorm conv"),
    ],
)
def test_a_field_that_only_one_branch_sets_may_be_absent(test: str, wanted: str) -> None:
    text = f"""
class Net(nn.Module):
    def __init__(self, deploy=False):
        super().__init__()
        if deploy:
            self.merged = nn.Conv2d(3, 3, 3)
        else:
            self.conv = nn.Conv2d(3, 3, 3)
            self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        if {test}:
            return self.merged(x)
        return self.bn(self.conv(x))
"""
    graph = graph_of(text)
    (output,) = graph.of_kind(Kind.OUTPUT)
    assert names(graph.producers(output)) == wanted


def test_alternative_lists_of_named_layers_are_alternatives() -> None:
    text = """
class Net(nn.Module):
    def __init__(self, deep=False):
        super().__init__()
        if deep:
            layers = [("c", nn.Conv2d(3, 4, 1)), ("b", nn.BatchNorm2d(4)), ("r", nn.ReLU())]
        else:
            layers = [("c", nn.Conv2d(3, 4, 3)), ("r", nn.ReLU())]
        self.stem = nn.Sequential(OrderedDict(layers))
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.stem(x))
"""
    graph = graph_of(text)
    inner, last = norms(graph)
    assert [node.place.line for node in graph.producers(inner) if node.place] == [14]
    assert len(graph.producers(last)) == 2


def test_attributes_set_by_dunder_setattr_run_with_the_container() -> None:
    text = """
class Unit(nn.Sequential):
    def __init__(self, name="norm"):
        super().__init__()
        self.__setattr__("conv", nn.Conv2d(3, 8, 3))
        self.__setattr__(name, nn.BatchNorm2d(8))
"""
    (graph,) = graphs_of(text, "Unit")
    assert feeds(graph) == "conv"


def test_a_convolution_by_its_inner_method_is_a_convolution() -> None:
    text = """
class Padded(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Padded(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x))
"""
    assert feeds(graph_of(text)) == "conv"
