"""Strategies for Python programs with torch idioms: valid text that makes more or less sense.

Every part is a strategy of lines; a block is indented where it is put into another. What comes out
parses, and may call what is not there, return outside of functions and name a class twice: none of
that may trouble a linter. A few combinations are no Python (`with x as *y`) and are left out.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from hypothesis import strategies as st

Lines: TypeAlias = list[str]
Text: TypeAlias = st.SearchStrategy[str]
Block: TypeAlias = st.SearchStrategy[Lines]

HEAD: Final = """\
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader
"""
MODULES: Final = ("models", "train", "helpers")
"""The files of a program, which may import each other in any way."""
CLASSES: Final = ("Net", "Block", "Head")
FUNCTIONS: Final = ("build", "evaluate", "step")
VARIABLES: Final = ("model", "net", "x", "y", "loss", "optimizer", "loader", "flag", "item", "self")
COMMENTS: Final = (
    "# bnlint: ignore[BNL101] because",
    "# bnlint: ignore",
    "# bnlint: ignore-file[BNL4]",
    "# bnlint: ignore[batchnorm",
    "# noqa",
    "# noqa: BNL201, E501",
    "# \u00e9\U0001f600",
)

variables = st.sampled_from(VARIABLES)
callables = st.sampled_from((*CLASSES, *FUNCTIONS, "models.Net", "helpers.build", "nn.Module"))
models = st.sampled_from(("model", "net", "self", "self.body", "model.module", "x", "nets[0]"))
parts = st.sampled_from(("body", "norm", "head", "0", "layers[1]", "_norm"))
fields = st.sampled_from(("body", "norm", "head", "layers", "training", "momentum", "x"))


def formed(form: str, *strategies: Text) -> Text:
    """A text in whose braces stand what the strategies give."""
    return st.builds(form.format, *strategies)


def any_of(*forms: str) -> Text:
    """One of these texts."""
    return st.sampled_from(forms)


numbers = any_of("0", "1", "-1", "8", "0.1", "1e-5", "0.99", "1.0", "2**100", "1j", "0x1F", "1_000")
constants = st.one_of(
    numbers,
    any_of("None", "True", "False", "...", "'a'", 'b"\\xff"', "''", "'\\ud800'", "'\\N{BULLET}'"),
    any_of('f"{x!r:>{item}}"', 'rf"{{{y}}}\\d"', "'a' 'b'", '"""a\n# noqa\n"""', "__name__"),
)
layers = st.one_of(
    formed("nn.BatchNorm2d({})", numbers),
    formed("nn.BatchNorm1d({}, momentum={})", numbers, numbers),
    formed("nn.BatchNorm2d(8, eps={}, affine={})", constants, constants),
    formed("nn.Conv2d(3, 8, 3, bias={})", constants),
    formed("nn.Dropout({})", numbers),
    any_of(
        "nn.ReLU()",
        "nn.Linear(8, 8)",
        "nn.Flatten()",
        "nn.SyncBatchNorm(8)",
        "nn.LayerNorm(8)",
        "nn.Identity()",
        "nn.LazyBatchNorm2d()",
        "torch.load('model.pt')",
        "torchvision.models.resnet18()",
        "timm.create_model('resnet18')",
    ),
    formed("{}()", st.sampled_from(CLASSES)),
)


def _joined(items: Iterable[str]) -> str:
    return ", ".join(items)


def lists_of(items: Text, most: int = 4) -> Text:
    """Items with commas between."""
    return st.lists(items, max_size=most).map(_joined)


def _larger(inner: Text) -> Text:
    """Expressions made of expressions."""
    return st.one_of(
        formed("nn.Sequential({})", lists_of(st.one_of(layers, inner), 6)),
        formed("nn.Sequential(*[{} for item in range({})])", layers, inner),
        formed("nn.ModuleList([{}])", lists_of(layers)),
        formed("{}({})", models, inner),
        formed("{}({})", callables, lists_of(inner)),
        formed("{}(*{}, key={}, **{})", callables, variables, inner, variables),
        formed("({}).{}", inner, fields),
        formed("{}[{}]", variables, inner),
        formed("{}[{}:{}, ...]", variables, inner, inner),
        formed("({} {} {})", inner, any_of("+", "-", "*", "@", "**", "//", "<<", "|"), inner),
        formed("({} {} {})", inner, any_of("==", "<", "is not", "in", "and", "or"), inner),
        formed("({} if {} else {})", inner, inner, inner),
        formed("({} {})", any_of("not", "-", "~"), inner),
        formed("({} := {})", variables, inner),
        formed("(lambda {}, *a, k={}, **o: {})", variables, inner, inner),
        formed("[{} for {} in {} if {}]", inner, variables, inner, inner),
        formed("{{{}: {} for {} in {}}}", inner, inner, variables, inner),
        formed("{{{}: {}, **{}}}", inner, inner, variables),
        formed("({}, *{})", inner, variables),
        formed("(await {})", inner),
        formed("(yield {})", inner),
        formed("F.dropout({}, 0.5, {})", inner, inner),
        formed("F.batch_norm(x, None, None, training={})", inner),
        formed("F.relu({})", inner),
        formed("copy.deepcopy({})", inner),
        formed("nn.DataParallel({})", inner),
        formed("nn.SyncBatchNorm.convert_sync_batchnorm({})", inner),
        formed("getattr({}, {})", inner, inner),
        formed("torch.compile({})", inner),
        formed("AveragedModel({})", inner),
        formed("torch.optim.SGD({}.parameters(), lr={})", models, inner),
        formed("DataLoader({}, batch_size={}, drop_last={})", inner, inner, inner),
    )


expressions: Text = st.recursive(st.one_of(variables, constants, layers), _larger, max_leaves=6)
targets = st.one_of(
    variables,
    formed("self.{}", fields),
    formed("{}.{}", variables, fields),
    formed("{}[{}]", variables, constants),
    formed("{}, *{}", variables, variables),
    any_of("(x, [y, self.x])", "Net", "build", "torch", "nn"),
)
idioms = st.one_of(
    formed("{}.eval()", models),
    formed("{}.train()", models),
    formed("{}.train({})", models, expressions),
    formed("{}.{}", models, any_of("eval", "train")),
    formed("{}.{}.eval()", models, fields),
    formed("{}.training = {}", models, constants),
    formed("{}.requires_grad_({})", models, constants),
    formed("{}.load_state_dict(torch.load('model.pt'))", models),
    formed("loss = F.cross_entropy({}(x), y)", models),
    formed("print({}(x).argmax(1))", models),
    formed("torch.save({}.state_dict(), 'model.pt')", models),
    formed("torch.jit.trace({}, x)", models),
    formed("torch.onnx.export({}, x, 'model.onnx')", models),
    formed("{} = {}", any_of("model", "net", "self.body", "nets"), expressions),
    formed("update_bn(loader, {})", models),
    formed("{}.apply({})", models, expressions),
    formed("{}.add_module({}, {})", models, constants, layers),
    formed("torch.set_grad_enabled({})", expressions),
    any_of(
        "loss.backward()", "optimizer.step()", "optimizer.zero_grad()", "return model", "main()"
    ),
)
simple = st.one_of(
    idioms,
    idioms,
    formed("{} = {}", targets, expressions),
    formed("{} = {} = {}", variables, targets, expressions),
    formed("{}: {} = {}", variables, expressions, expressions),
    formed("{} += {}", variables, expressions),
    expressions,
    formed("return {}", expressions),
    formed("raise {} from {}", expressions, variables),
    formed("assert {}, {}", expressions, expressions),
    formed("del {}", variables),
    formed("global {}", variables),
    formed("from {} import {}", st.sampled_from(MODULES), st.sampled_from((*CLASSES, "build"))),
    formed("from {} import *", st.sampled_from(MODULES)),
    formed("import {} as {}", st.sampled_from(MODULES), variables),
    any_of(
        "pass", "break", "continue", "return", "raise", "from . import models", "import helpers"
    ),
    any_of("import sys; sys.path.append('..')", "exit()", "torch.manual_seed(0)"),
)


def _commented(statement: str, comment: str | None) -> Lines:
    return [statement if comment is None else f"{statement}  {comment}"]


statements: Block = st.builds(
    _commented, simple, st.one_of(st.none(), st.none(), st.none(), st.sampled_from(COMMENTS))
)


def indented(*lines: str) -> Lines:
    """Lines as the body of something; those within a string are not touched."""
    return [f"    {line}" for line in lines]


def _chained(blocks: Sequence[Lines]) -> Lines:
    return [line for block in blocks for line in block] or ["pass"]


def _headed(header: str, body: Lines) -> Lines:
    return [f"{header}:", *indented(*body)]


def _module_class(name: str, base: str, built: list[str], run: Lines, more: Lines) -> Lines:
    layers = [f"self.{field} = {layer}" for field, layer in zip(("body", "norm", "head"), built)]
    init = _headed("def __init__(self, flag=True)", ["super().__init__()", *layers])
    forward = _headed("def forward(self, x)", [*run, "return self.head(self.norm(self.body(x)))"])
    return _headed(f"class {name}({base})", [*init, *forward, *more])


def compound(inner: Block) -> Block:
    """Statements that hold statements."""
    blocks = st.lists(inner, min_size=1, max_size=4).map(_chained)
    headers = st.one_of(
        formed("if {}", expressions),
        any_of("if __name__ == '__main__'", "if model.training", "if flag"),
        formed("for {} in {}", targets, expressions),
        any_of("for x, y in loader", "for item in range(3)", "for item in model.modules()"),
        formed("while {}", expressions),
        any_of("with torch.no_grad()", "with torch.inference_mode(), open('x') as y"),
        formed("with {} as ({})", expressions, targets),
        any_of(
            "def build(x, /, *, flag=None)", "def evaluate(model, x)", "def step(self, *a, **k)"
        ),
        any_of(
            "async def build(model)", "async for item in loader", "@torch.no_grad()\ndef step(x)"
        ),
        formed("def forward(self, x={})", expressions),
        formed("class {}({})", st.sampled_from(CLASSES), expressions),
    )
    return st.one_of(
        st.builds(_headed, headers.filter(lambda header: "\n" not in header), blocks),
        st.builds(lambda a, b: [*_headed("if flag", a), *_headed("else", b)], blocks, blocks),
        st.builds(lambda a, b: [*_headed("for x in y", a), *_headed("else", b)], blocks, blocks),
        st.builds(
            lambda a, b, c: [
                *_headed("try", a),
                *_headed("except (E, F) as x", b),
                *_headed("finally", c),
            ],
            blocks,
            blocks,
            blocks,
        ),
        st.builds(
            lambda a, b: [
                "match x:",
                *indented(*_headed("case Net(body=y) | [_, y, *_] if flag", a)),
                *indented(*_headed("case {'a': 1, **item}", b)),
            ],
            blocks,
            blocks,
        ),
        st.builds(
            lambda a: ["@torch.no_grad()", *_headed("def evaluate(model, loader)", a)], blocks
        ),
        st.builds(
            _module_class,
            st.sampled_from(CLASSES),
            any_of("nn.Module", "Net", "models.Block", "nn.Sequential", "nn.Module, Net"),
            st.lists(st.one_of(layers, expressions), max_size=3),
            st.one_of(st.just([]), blocks),
            st.one_of(
                st.just([]), st.builds(_headed, any_of("def train(self, mode=True)"), blocks)
            ),
        ),
    )


blocks: Block = st.recursive(statements, compound, max_leaves=8)


def _training(layers: str, before: Lines, inside: Lines, after: Lines, shown: str) -> Lines:
    """A training and an evaluation that make sense, with anything at all between their lines."""
    step = ["loss = F.cross_entropy(model(x), y)", *inside, "loss.backward()", "optimizer.step()"]
    return [
        f"model = nn.Sequential({layers})",
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)",
        *before,
        *_headed("for epoch in range(3)", [*_headed("for x, y in loader", step), *after]),
        *_headed("with torch.no_grad()", ["for x, y in loader:", f"    {shown}"]),
    ]


some: Block = st.one_of(st.just([]), statements, blocks)
trainings: Block = st.builds(
    _training,
    lists_of(layers, 5),
    some,
    some,
    some,
    any_of("print(model(x).argmax(1))", "model(x)", "model.eval(); print((model(x) == y).sum())"),
)


def _flat(blocks: Sequence[Lines]) -> str:
    return HEAD + "".join(f"{line}\n" for block in blocks for line in block)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


files = st.lists(st.one_of(blocks, trainings), min_size=1, max_size=6).map(_flat).filter(_parses)
programs = st.dictionaries(st.sampled_from(MODULES), files, min_size=1, max_size=3).map(
    lambda texts: {f"{name}.py": text for name, text in sorted(texts.items())}
)


def as_notebook(text: str) -> str:
    """The text as the cells of a notebook: cut where a statement begins in the first column."""
    cells: list[str] = []
    for line in text.splitlines(keepends=True):
        if not cells or (line[:1].isalpha() and len(cells[-1]) > 200):
            cells.append("")
        cells[-1] += line
    code = [{"cell_type": "code", "source": cell, "outputs": []} for cell in cells]
    return json.dumps({"cells": code, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})
