"""A generator of module files: every tensor is (batch, 4, 8, 8), so that all parts fit together."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from drawn import HEADER, indented
from random_parts import ATOMS, BEFORE, FUNCTIONAL, IDIOMS, PARTS


@dataclass
class Writer:
    """Writes one class: lines of the constructor, of the forward, and of further methods.

    is_open: whether the text leaves open which way a forward takes.
    """

    random: Random
    earlier: tuple[str, ...]
    build: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    count: int = 0
    is_open: bool = False

    def name(self) -> str:
        self.count += 1
        return f"m{self.count}"

    def layer(self) -> str:
        """The expression of a new layer or block."""
        pick = self.random.random()
        if pick < 0.6:
            return self.random.choice(ATOMS)
        if pick < 0.75:
            return self.random.choice(PARTS)
        if pick < 0.85 and self.earlier:
            return f"{self.random.choice(self.earlier)}()"
        return f"nn.Sequential({', '.join(self.layers())})"

    def layers(self, most: int = 4) -> list[str]:
        return [self.random.choice((*ATOMS, *PARTS)) for _ in range(self.random.randint(2, most))]

    def step(self) -> None:
        """Add one step from tensor to tensor."""
        steps = (
            *[self.plain] * 5,
            *[self.functional] * 3,
            self.nested,
            self.sequential,
            self.module_list,
            self.module_dict,
            self.residual,
            self.concatenated,
            self.halves,
            self.flag,
            self.open_branch,
            self.repeated,
            self.method,
            self.optional,
            self.numbered,
            *[self.idiom] * 4,
        )
        self.random.choice(steps)()

    def run(self, steps: list[str]) -> None:
        self.forward += steps

    def plain(self) -> None:
        name = self.name()
        self.build.append(f"self.{name} = {self.layer()}")
        self.run([f"x = self.{name}(x)"])

    def functional(self) -> None:
        self.run(self.random.choice(FUNCTIONAL).splitlines())

    def nested(self) -> None:
        first, second = self.name(), self.name()
        self.build.append(f"self.{first}, self.{second} = {self.layer()}, {self.layer()}")
        call = f"self.{second}(self.{first}(x))"
        self.run([f"x = {self.random.choice(['F.relu({})', '{}', '{}.relu()']).format(call)}"])

    def sequential(self) -> None:
        name, layers = self.name(), self.layers()
        first, *rest = layers
        pairs = ", ".join(f"('p{i}', {layer})" for i, layer in enumerate(layers))
        ways = (
            [f"layers = [{first}]"]
            + [f"layers.append({layer})" for layer in rest]
            + [f"self.{name} = nn.Sequential(*layers)"],
            ["layers = []"]
            + [f"layers += [{layer}]" for layer in layers]
            + [f"self.{name} = nn.Sequential(*layers)"],
            [
                f"layers = [{', '.join(rest)}]",
                f"layers.insert(0, {first})",
                f"self.{name} = nn.Sequential(*layers)",
            ],
            [f"self.{name} = nn.Sequential(OrderedDict([{pairs}]))"],
            [f"self.{name} = nn.Sequential()"]
            + [f"self.{name}.add_module('p{i}', {x})" for i, x in enumerate(layers)],
            [f"self.{name} = nn.Sequential(*[{first} for _ in range(2)], {', '.join(rest)})"],
        )
        self.build += self.random.choice(ways)
        self.run([f"x = self.{name}(x)"])

    def module_list(self) -> None:
        name = self.name()
        layers = self.layers()
        builds = (
            [f"self.{name} = nn.ModuleList([{', '.join(layers)}])"],
            [f"self.{name} = nn.ModuleList()"]
            + [f"self.{name}.append({layer})" for layer in layers],
            [f"self.{name} = nn.ModuleList({layers[0]} for _ in range({len(layers)}))"],
        )
        self.build += self.random.choice(builds)
        ways = (
            [f"for layer in self.{name}:", "    x = layer(x)"],
            [f"for i, layer in enumerate(self.{name}):", "    x = layer(x)"],
            [f"for i in range(len(self.{name})):", f"    x = self.{name}[i](x)"],
            [f"x = self.{name}[{i}](x)" for i in range(len(layers))],
            [f"for layer in reversed(self.{name}):", "    x = layer(x)"],
            [f"for layer in self.{name}[1:]:", "    x = layer(x)"],
        )
        self.run(self.random.choice(ways))

    def module_dict(self) -> None:
        name = self.name()
        layers = self.layers(3)
        pairs = ", ".join(f"'p{i}': {layer}" for i, layer in enumerate(layers))
        self.build.append(f"self.{name} = nn.ModuleDict({{{pairs}}})")
        ways = (
            [f"for key in self.{name}:", f"    x = self.{name}[key](x)"],
            [f"for key, layer in self.{name}.items():", "    x = layer(x)"],
            [f"for layer in self.{name}.values():", "    x = layer(x)"],
            [f"x = self.{name}['p1'](self.{name}['p0'](x))"],
        )
        self.run(self.random.choice(ways))

    def residual(self) -> None:
        saved = f"y{self.name()}"
        self.run([f"{saved} = x"])
        self.plain()
        if self.random.random() < 0.5:
            self.functional()
        self.run([self.random.choice([f"x = x + {saved}", f"x = torch.add(x, {saved})"])])

    def concatenated(self) -> None:
        name = self.name()
        saved = f"y{name}"
        self.run([f"{saved} = x"])
        self.plain()
        inner = self.random.choice(
            ["nn.Conv2d(8, 4, 1)", "nn.Sequential(BN(8), nn.Conv2d(8, 4, 1))"]
        )
        self.build.append(f"self.{name} = {inner}")
        self.run([f"x = self.{name}(torch.cat([x, {saved}], dim=1))"])

    def halves(self) -> None:
        name = self.name()
        self.build.append(f"self.{name} = nn.BatchNorm2d(2)")
        ways = (
            ["a, b = x.chunk(2, 1)", f"x = torch.cat((self.{name}(a), b), 1)"],
            ["a, b = torch.split(x, 2, dim=1)", f"x = torch.cat([b, self.{name}(a)], 1)"],
            [f"x = torch.cat([self.{name}(x[:, :2]), x[:, 2:]], 1)"],
        )
        self.run(self.random.choice(ways))

    def flag(self) -> None:
        name, value = self.name(), self.random.choice(["True", "False"])
        layers = self.layer(), self.layer()
        ways = (
            [f"use = {value}", f"self.{name} = {layers[0]} if use else {layers[1]}"],
            [
                f"use = {value}",
                "if use:",
                f"    self.{name} = {layers[0]}",
                "else:",
                f"    self.{name} = {layers[1]}",
            ],
            [f"self.{name} = dict(a={layers[0]}, b={layers[1]})['a']"],
        )
        self.build += self.random.choice(ways)
        self.run([f"x = self.{name}(x)"])

    def open_branch(self) -> None:
        first, second = self.name(), self.name()
        self.is_open = True
        self.build += [f"self.{first} = {self.layer()}", f"self.{second} = {self.layer()}"]
        test = self.random.choice(["x.shape[0] > 3", "x.sum() > 1e9", "self.training"])
        ways = (
            [f"if {test}:", f"    x = self.{first}(x)", "else:", f"    x = self.{second}(x)"],
            [f"x = self.{first}(x)", f"if {test}:", f"    x = self.{second}(x)"],
            [f"x = self.{first}(x) if {test} else self.{second}(x)"],
        )
        self.run(self.random.choice(ways))

    def repeated(self) -> None:
        name = self.name()
        self.build.append(f"self.{name} = {self.random.choice(ATOMS + PARTS)}")
        self.run(["for _ in range(2):", f"    x = self.{name}(x)"])

    def method(self) -> None:
        name, helper = self.name(), f"_part{self.count}"
        self.build.append(f"self.{name} = {self.layer()}")
        self.methods.append(f"    def {helper}(self, y):\n        return F.relu(self.{name}(y))\n")
        self.run([f"x = self.{helper}(x)"])

    def optional(self) -> None:
        name, there = self.name(), self.random.random() < 0.5
        self.build.append(f"self.{name} = {self.layer() if there else 'None'}")
        self.run([f"if self.{name} is not None:", f"    x = self.{name}(x)"])

    def idiom(self) -> None:
        """One of the ways in which libraries write a step."""
        name = self.name()
        build, forward = self.random.choice(IDIOMS)
        self.is_open |= "while" in forward
        words = {"NAME": name, "LAYER": self.layer(), "OTHER": self.layer()}
        for word, replacement in words.items():
            build = build.replace(word, replacement)
            forward = forward.replace(word, replacement)
        self.build += build.splitlines()
        self.run(forward.splitlines())

    def numbered(self) -> None:
        name, layer = self.name(), self.layer()
        self.build += ["for i in range(2):", f"    setattr(self, f'{name}_{{i}}', {layer})"]
        self.run(["for i in range(2):", f"    x = getattr(self, f'{name}_{{i}}')(x)"])

    def text(self, name: str) -> str:
        """The class."""
        build = indented("\n".join(self.build) or "pass")
        forward = indented("\n".join(self.forward))
        methods = "\n".join(self.methods)
        return (
            f"class {name}(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            f"{build}\n{methods}\n    def forward(self, x):\n{forward}        return x\n\n\n"
        )


def module_file(seed: int) -> tuple[str, bool]:
    """The text of a file (behind the usual imports) whose class Net takes (batch, 4, 8, 8), and
    whether it leaves open which way a forward takes."""
    random = Random(seed)
    texts, names, is_open = [BEFORE], [], False
    for name in ("Inner", "Middle", "Net"):
        writer = Writer(random, tuple(names))
        for _ in range(random.randint(3, 7)):
            writer.step()
        texts.append(writer.text(name))
        names.append(name)
        is_open |= writer.is_open
    return "".join(texts), is_open


def whole_text(text: str) -> str:
    """What stands in the file."""
    return HEADER + text
