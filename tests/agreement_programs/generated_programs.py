"""A generated program: a random model, state, loop and idioms, over one file or several."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from textwrap import indent

import kinds_of_model
from idioms_of_mode import Idioms
from layout import Layout
from routines import Routines
from scenes import SCENES
from styles import STYLES, Closures, Inline, Style, Trainer
from templates import filled

SCENE_SHARE = 0.4
"""Of all programs; the others are put together from routines."""


@dataclass(frozen=True)
class Program:
    """The texts of a program by path below its folder, and the script to run."""

    name: str
    texts: dict[str, str]
    script: str

    def __str__(self) -> str:
        parts = []
        for path, text in self.texts.items():
            if text:
                lines = "\n".join(f"{i:3} {line}" for i, line in enumerate(text.splitlines(), 1))
                parts.append(f"--- {path}\n{lines}")
        return "\n".join(parts)


DATASET = """\
class Rows(Dataset):
    def __init__(self, path):
        self.data = torch.load(path)

    def __len__(self):
        return len(self.data["y"])

    def __getitem__(self, index):
        return self.data["x"][index], self.data["y"][index]
"""
LOADER = """\
def make_loader(path, batch_size=4, shuffle=False):
    data = torch.load(path)
    return DataLoader(TensorDataset(data["x"], data["y"]), batch_size=batch_size, shuffle=shuffle)
"""
BATCHES = """\
def make_batches(path, size=4):
    data = torch.load(path)
    return list(zip(data["x"].split(size), data["y"].split(size)))
"""


def generate(seed: int) -> Program:
    """The program of a seed, always the same."""
    random = Random(seed)
    layout = Layout(random, random.choice((1, 1, 2, 3, 4)))
    kind = kinds_of_model.choose(random, layout, mistaken=True)
    if random.random() < SCENE_SHARE:
        text = _scene(random, layout, random.choice(list(SCENES.values())), kind.build)
        layout.script.texts.append(layout.spelled(text, layout.script))
        return Program(f"seed{seed}", layout.texts(), f"{Layout.SCRIPT}.py")
    routines = Routines(random, Idioms(random, layout), kind.part)
    parts = {routine.name: routine for routine in routines.fit()}
    style = random.choice(STYLES)(random, layout, parts)
    lines = _main(random, layout, style, kind.build)
    layout.script.texts.append(layout.spelled(lines, layout.script))
    return Program(f"seed{seed}", layout.texts(), f"{Layout.SCRIPT}.py")


def scene(seed: int, template: str) -> Program:
    """A whole program with choices, filled in by a seed."""
    random = Random(seed)
    layout = Layout(random, random.choice((1, 1, 2)))
    kind = kinds_of_model.choose(random, layout)
    text = _scene(random, layout, template, kind.build)
    layout.script.texts.append(layout.spelled(text, layout.script))
    return Program(f"seed{seed}", layout.texts(), f"{Layout.SCRIPT}.py")


def _scene(random: Random, layout: Layout, template: str, build: str) -> str:
    text = filled(template, random).replace("$Net()", build)
    lines = _loaders(random, layout)
    if '"net.pt"' in text:
        lines.append(f'torch.save({build}.state_dict(), "net.pt")')
    return "\n".join([*lines, text])


def _main(random: Random, layout: Layout, style: Style, build: str) -> str:
    """The main part: it builds the state and runs the training."""
    lines = [f"model = {build}", *_loaders(random, layout)]
    lines += [random.choice(OPTIMIZERS), *style.setup()]
    if random.random() < 0.15:
        lines.insert(1, "model.train()")
    work = style.body(["<<fit>>"], style.in_main)
    tail = _tail(random)
    text = "\n".join([*lines, work, *(style.body([line], style.in_main) for line in tail)])
    if isinstance(style, Trainer):
        style.finish()
    if isinstance(style, Closures):
        text = "\n".join([*lines, *style.nested, work])
    if style.at_module_level or (isinstance(style, Inline) and random.random() < 0.6):
        if random.random() < 0.3 and not isinstance(style, Inline):
            text = f'if __name__ == "__main__":\n{indent(text, "    ")}'
        return text
    return _main_function(random, text)


def _main_function(random: Random, text: str) -> str:
    return (
        f"def main():\n{indent(text, '    ')}\n\n\n"
        + random.choice(("main()", 'if __name__ == "__main__":\n    main()'))
        + "\n"
    )


OPTIMIZERS = (
    "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
    "optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)",
    "optimizer = torch.optim.Adam(params=model.parameters(), lr=1e-3)",
    "optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()))",
)


EXPORTS = (
    ['torch.jit.trace(<model>, torch.load("valid.pt")["x"]).save("net.ts")'],
    [
        'program = torch.jit.trace(<model>, (torch.load("valid.pt")["x"],))',
        'torch.jit.save(program, "net.ts")',
    ],
)
"""Ways to fix a trained model as it is now."""


def _tail(random: Random) -> list[str]:
    """What comes behind the training."""
    return random.choice(
        (
            [],
            [],
            [],
            ['torch.save(<model>.state_dict(), "last.pt")'],
            [
                "<model>.eval()",
                "with torch.no_grad():",
                '    print(<model>(torch.load("valid.pt")["x"]).argmax(1))',
            ],
            [
                "with torch.no_grad():",
                '    print(<model>(torch.load("valid.pt")["x"]).argmax(1))',
            ],
            ["<model>.eval()", *EXPORTS[0]],
            EXPORTS[0],
            EXPORTS[1],
        )
    )


def _loaders(random: Random, layout: Layout) -> list[str]:
    form = random.randrange(4)
    if form == 0:
        layout.define("make_batches", BATCHES, "data")
        return ['train_loader, val_loader = $make_batches("train.pt"), $make_batches("valid.pt")']
    if form == 1:
        layout.define("Rows", DATASET, "data")
        return [
            'train_loader = DataLoader($Rows("train.pt"), batch_size=4, shuffle=True)',
            'val_loader = DataLoader($Rows("valid.pt"), batch_size=4)',
        ]
    layout.define("make_loader", LOADER, "data")
    return [
        'train_loader = $make_loader("train.pt", shuffle=True)',
        'val_loader = $make_loader("valid.pt")',
    ]
