"""Small programs -> what the trace knows of loaders, accumulation and several processes."""

from __future__ import annotations

import pytest
from drawn import HEADER, graph_of, pictures_of

import bnlint
from bnlint.settings import Settings
from bnlint.trace import Backward, Distribute, Event, Forward, Step, SyncNorms

NET = """\
from torch.utils.data import DataLoader
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
import torch.utils.checkpoint as cp
from torch.nn.parallel import DistributedDataParallel as DDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 8)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.bn(self.fc(x))


data = torch.load("a.pt")
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
"""
RUN = """\
for i, (x, y) in enumerate(LOADER):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


def events(text: str) -> list[Event]:
    return [event for trace in pictures_of(NET + text).traces for event in trace.events()]


def codes(text: str, *select: str) -> list[str]:
    result = bnlint.lint_source(HEADER + NET + text, settings=Settings(select=select))
    return [finding.code for finding in result.findings]


@pytest.mark.parametrize(
    ("loader", "keeps"),
    [
        ("DataLoader(data, 8)", True),
        ("DataLoader(data, batch_size=8, drop_last=False)", True),
        ("DataLoader(data, batch_size=8, drop_last=True)", False),
        ("DataLoader(data, 8, True, None, None, 0, None, False, True)", False),
        ("DataLoader(data, batch_size=8, **dict(drop_last=True))", False),
        ("DataLoader(data, batch_size=8, **torch.load('options.pt'))", None),
        ("DataLoader(data, batch_size=8, drop_last=data.long)", None),
        ("DataLoader(data, batch_size=None)", None),
        ("DataLoader(data, batch_size=8, collate_fn=None)", True),
        ("DataLoader(data, batch_size=8, collate_fn=data.collate)", None),
        ("DataLoader(data, batch_sampler=data.sampler)", None),
        ("data", None),
    ],
)
def test_what_is_left_over(loader: str, keeps: bool | None) -> None:
    (run,) = (e for e in events(RUN.replace("LOADER", loader)) if isinstance(e, Forward))
    assert run.keeps_rest is keeps
    assert run.last_batch is None
    found = codes(RUN.replace("LOADER", loader), "BNL302")
    assert found == (["BNL302"] if keeps else [])


@pytest.mark.parametrize(
    ("test", "every"),
    [
        ("(i + 1) % 4 == 0", 4),
        ("0 == (i + 1) % 4", 4),
        ("i % 4 == 3", 4),
        ("not (i + 1) % 4", 4),
        ("(i + 1) % 4 == 0 or i + 1 == len(data)", 4),
        ("i > 0 and i % STEPS == 0", 6),
        ("(i + 1) % 1 == 0", 1),
        ("(i + 1) % len(data) == 0", 1),
        ("i % 4 != 0", 1),
        ("i > 4", 1),
    ],
)
def test_steps_in_some_rounds(test: str, every: int) -> None:
    text = "STEPS = 2 * 3\nfor i, (x, y) in enumerate(DataLoader(data, 2)):\n" + (
        f"    F.cross_entropy(model(x), y).backward()\n    if {test}:\n        optimizer.step()\n"
    )
    (step,) = (event for event in events(text) if isinstance(event, Step))
    (backward,) = (event for event in events(text) if isinstance(event, Backward))
    assert step.every == every
    assert backward.every == 1
    assert codes(text, "BNL304") == (["BNL304"] if every > 1 else [])


def test_the_other_branch_is_the_usual_one() -> None:
    text = (
        "for i, (x, y) in enumerate(DataLoader(data, 2)):\n"
        "    if (i + 1) % 4 != 0:\n        pass\n    else:\n        optimizer.step()\n"
        "    if i % 4 == 0:\n        pass\n    else:\n        optimizer.step()\n"
    )
    assert [event.every for event in events(text) if isinstance(event, Step)] == [4, 1]


def test_an_option_decides_the_rounds() -> None:
    text = (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--every', type=int, default=8)\nargs = parser.parse_args()\n"
        "for i, (x, y) in enumerate(DataLoader(data, 2)):\n"
        "    F.cross_entropy(model(x), y).backward()\n"
        "    if i % args.every == 0:\n        optimizer.step()\n"
    )
    (step,) = (event for event in events(text) if isinstance(event, Step))
    assert step.every == 8
    assert step.every_place is not None
    assert (
        step.every_place.line
        == (HEADER + NET + text)
        .splitlines()
        .index("parser.add_argument('--every', type=int, default=8)")
        + 1
    )


@pytest.mark.parametrize(
    ("loss", "flows"),
    [
        ("model(x).sum()", [True]),
        ("(model(x) + model(x).detach()).sum()", [True, False]),
        ("other(model(x).detach()).sum()", [False, True]),
        ("other(other(model(x).detach())).sum()", [False, True, True]),
        ("F.mse_loss(other(x), model(x).detach())", [True, False]),
        ("F.mse_loss(other(x), model(x).softmax(1).detach() * 2)", [True, False]),
        ("(y + y.detach()).sum()", []),
    ],
)
def test_detached_outputs(loss: str, flows: list[bool]) -> None:
    text = f"other = Net()\nfor x, y in data:\n    ({loss}).backward()\n"
    found = events(text)
    (backward,) = (event for event in found if isinstance(event, Backward))
    runs = [event for event in found if isinstance(event, Forward)]
    assert {run.output for run in runs} == backward.outputs
    assert [backward.reaches(run) for run in runs] == flows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model = DDP(model)", ["BNL305"]),
        ("model = DDP(model.cuda(), device_ids=[0])", ["BNL305"]),
        ("model = nn.parallel.DistributedDataParallel(module=model)", ["BNL305"]),
        ("model = nn.DataParallel(model)", []),
        ("model = DDP(nn.SyncBatchNorm.convert_sync_batchnorm(model))", []),
        ("from apex.parallel import convert_syncbn_model\nDDP(convert_syncbn_model(model))", []),
        ("from other import prepare\nmodel = DDP(prepare(model))", []),
        ("from other import prepare\nprepare(model)\nmodel = DDP(model)", []),
        ("model = DDP(nn.Linear(3, 8))", []),
        ("model = DDP(model)\nmodel = nn.SyncBatchNorm.convert_sync_batchnorm(model)", ["BNL602"]),
        ("model = DDP(model)\nnn.SyncBatchNorm.convert_sync_batchnorm(model)", ["BNL602"]),
        ("model = nn.DataParallel(model)\nnn.SyncBatchNorm.convert_sync_batchnorm(model)", []),
        ("nn.SyncBatchNorm.convert_sync_batchnorm(model)", []),
        ("nn.SyncBatchNorm.convert_sync_batchnorm(model.bn)", ["BNL602"]),
        ("model.bn = nn.SyncBatchNorm.convert_sync_batchnorm(model.bn)", []),
        ("nn.SyncBatchNorm.convert_sync_batchnorm(model.fc)", []),
        (
            "import sys\nnet = DDP(model) if len(sys.argv) > 1 else model\n"
            "net = nn.SyncBatchNorm.convert_sync_batchnorm(net)",
            [],
        ),
    ],
)
def test_several_processes(text: str, found: list[str]) -> None:
    assert codes(text + "\n", "BNL305", "BNL602") == found


def test_the_events_of_several_processes() -> None:
    text = "model = nn.SyncBatchNorm.convert_sync_batchnorm(model)\nmodel = DDP(model)\n"
    sync, wrap = (e for e in events(text) if isinstance(e, SyncNorms | Distribute))
    assert isinstance(sync, SyncNorms)
    assert isinstance(wrap, Distribute)
    assert sync.layers == wrap.layers
    assert sync.model == wrap.model
    assert sync.distributed is None


METHOD = "\n\n    def run(self, x):\n        return self.body(x)"
BLOCK = """\
class Block(nn.Module):
    def __init__(self, option=OPTION):
        super().__init__()
        self.option = option
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))

    def forward(self, x):
        RUN
"""


@pytest.mark.parametrize(
    ("run", "always"),
    [
        ("return checkpoint(self.body, x)", True),
        ("return cp.checkpoint(self.body, x, use_reentrant=False)", True),
        ("return checkpoint(lambda y: self.body(y) + y, x)", True),
        (f"return checkpoint(self.run, x){METHOD}", True),
        (f"return checkpoint(function=self.run, x=x){METHOD}", True),
        ("return checkpoint(self.body, x) if self.training else self.body(x)", True),
        ("return self.body(x) if self.training else checkpoint(self.body, x)", False),
        ("return checkpoint(self.body, x) if x.requires_grad else self.body(x)", True),
        ("return checkpoint(self.body, x) if torch.is_grad_enabled() else self.body(x)", True),
        ("return self.body(x) if torch.jit.is_scripting() else checkpoint(self.body, x)", True),
        ("return checkpoint(self.body, x) if x.sum() > 0 else self.body(x)", False),
        ("return checkpoint(self.body, x) if self.option else self.body(x)", "option"),
        ("return self.body(checkpoint(self.body, x))", False),
        ("return self.body[1](checkpoint(self.body[0], x))", False),
        ("return checkpoint_sequential(self.body, 1, x)", False),
        ("return checkpoint_sequential(self.body, 2, x)", False),
        ("return checkpoint_sequential([self.body, nn.ReLU()], 2, x)", True),
        ("return checkpoint_sequential([self.body, nn.ReLU()], x.shape[0], x)", False),
    ],
)
@pytest.mark.parametrize("option", [True, False])
def test_checkpointed_layers(run: str, always: bool | str, option: bool) -> None:
    text = NET + BLOCK.replace("RUN", run).replace("OPTION", str(option))
    wanted = option if always == "option" else always
    graph = graph_of(text, "Block")
    norms = [node for node in graph.nodes if node.name == "torch.nn.BatchNorm2d"]
    assert norms
    assert any(node.checkpoint is not None for node in norms) is wanted
    found = bnlint.lint_source(HEADER + text, settings=Settings(select=("BNL502",))).findings
    assert len(found) == wanted


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        ("checkpoint(model, x)", True),
        ("checkpoint_sequential(nn.Sequential(model, nn.ReLU()), 2, x)", True),
        ("checkpoint_sequential(nn.Sequential(nn.ReLU(), model), 2, x)", False),
        ("model(x)", False),
        ("checkpoint(model.eval(), x)", False),
    ],
)
def test_a_checkpoint_in_a_script(run: str, wrong: bool) -> None:
    text = f"for x, y in data:\n    F.mse_loss({run}, y).backward()\n    optimizer.step()\n"
    assert codes(text, "BNL502") == (["BNL502"] if wrong else [])


@pytest.mark.parametrize(
    ("gather", "trains"),
    [
        ("outputs.update(more)", True),
        ("outputs.update({'more': more})", True),
        ("outputs.append(more)", True),
        ("outputs.setdefault('more', more)", True),
        ("outputs.get(more)", False),
    ],
)
def test_what_a_dictionary_of_outputs_takes_in_is_trained_with_it(
    gather: str, trains: bool
) -> None:
    text = (
        "head = Net()\nhead.load_state_dict(torch.load('head.pt'))\n"
        "for x, y in data:\n    outputs = model(x)\n    more = head(x)\n"
        f"    {gather}\n    print(more.argmax())\n"
        "    F.mse_loss(outputs['all'], y).backward()\n    optimizer.step()\n"
    )
    assert codes(text, "BNL101") == ([] if trains else ["BNL101"])


@pytest.mark.parametrize(
    "base",
    ["torchvision.models.ResNet", "timm.models.resnet.ResNet", "torchvision.ops.FrozenBatchNorm2d"],
)
def test_a_class_that_a_library_derives_from_module_is_one(base: str) -> None:
    text = (
        f"import {base.rpartition('.')[0]}\n\n\nclass Wide({base}):\n"
        "    def __init__(self, blocks):\n        super().__init__(blocks)\n"
        "        self.bn1 = nn.BatchNorm2d(64)\n        self.layer1 = self._make_layer(64)\n\n\n"
        "wide = Wide([2, 2])\nwith torch.no_grad():\n    print(wide(data).argmax())\n"
    )
    assert codes(text, "BNL101") == ["BNL101"]


@pytest.mark.parametrize(
    ("forward", "told"),
    [
        ("return super().forward(x)", True),
        ("return nn.BatchNorm2d.forward(self, x)", True),
        ("norm = self.norms[self.width]\n        return F.batch_norm(x, norm.running_mean)", False),
    ],
)
def test_a_norm_that_calculates_itself_is_judged_as_no_layer_of_torch(
    forward: str, told: bool
) -> None:
    text = (
        "class Norm(nn.BatchNorm2d):\n    def __init__(self, n):\n"
        "        super().__init__(n, track_running_stats=False)\n"
        "        self.norms = nn.ModuleList(widths)\n"
        f"    def forward(self, x):\n        {forward}\n\n\n"
        "def unused():\n    keep(Norm(4))\n"
    )
    assert bool(codes(text, "BNL404")) is told
