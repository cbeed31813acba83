"""ModuleList and ModuleDict, and layers under numbered names."""

from __future__ import annotations

from writer import Writer, nested


def _list(w: Writer) -> tuple[str, int]:
    """A ModuleList of some length, built in one of several ways."""
    name, layers = w.name(), w.layers()
    text = ", ".join(layers)
    ways = (
        [f"self.{name} = nn.ModuleList([{text}])"],
        [f"self.{name} = nn.ModuleList()", *(f"self.{name}.append({x})" for x in layers)],
        [f"self.{name} = nn.ModuleList({layers[0]} for _ in range({len(layers)}))"],
        [f"self.{name} = nn.ModuleList([])", f"self.{name}.extend([{text}])"],
        [
            f"self.{name} = nn.ModuleList([{layers[0]}])",
            f"self.{name} += [{', '.join(layers[1:])}]",
        ],
        [f"found = [{text}]", f"self.{name} = nn.ModuleList(found)"],
        [
            f"self.{name} = nn.ModuleList([{', '.join(layers[1:])}])",
            f"self.{name}.insert(0, {layers[0]})",
        ],
        [
            "found = []",
            f"for i in range({len(layers)}):",
            f"    found.append({layers[0]})",
            f"self.{name} = nn.ModuleList(found)",
        ],
    )
    w.build(*w.random.choice(ways))
    return f"self.{name}", len(layers)


def looped(w: Writer) -> None:
    found, _ = _list(w)
    w.forward(
        w.pick(
            f"for layer in {found}:",
            f"for i, layer in enumerate({found}):",
            f"for i, layer in enumerate({found}, start=1):",
            f"for layer in reversed({found}):",
            f"for layer in {found}[1:]:",
            f"for layer in {found}[::-1]:",
            f"for layer in list({found})[:2]:",
        ),
        "    x = layer(x)",
    )


def indexed(w: Writer) -> None:
    found, count = _list(w)
    ways = (
        [f"for i in range(len({found})):", f"    x = {found}[i](x)"],
        [f"x = {found}[{i}](x)" for i in range(count)],
        [f"x = {found}[-1]({found}[0](x))"],
        [f"first, *rest = {found}", "x = first(x)", "for f in rest:", "    x = f(x)"],
        [f"for i in range(len({found}) - 1, -1, -1):", f"    x = {found}[i](x)"],
    )
    w.forward(*w.random.choice(ways))


def zipped(w: Writer) -> None:
    first, second = w.name(), w.name()
    w.build(
        f"self.{first} = nn.ModuleList([{w.layer()}, {w.layer()}])",
        f"self.{second} = nn.ModuleList([{w.layer()}, nn.BatchNorm2d(4)])",
    )
    w.forward(
        *w.random.choice(
            (
                [f"for a, b in zip(self.{first}, self.{second}):", "    x = b(a(x))"],
                [
                    f"for i, (a, b) in enumerate(zip(self.{first}, self.{second})):",
                    nested(["x = a(x)", "if i > 0:", "    x = b(x)"]),
                ],
                [f"for i, a in enumerate(self.{first}):", f"    x = self.{second}[i](a(x))"],
            )
        )
    )


def every_layer_but_the_last(w: Writer) -> None:
    found, _ = _list(w)
    w.forward(
        f"for i, layer in enumerate({found}):",
        nested(
            [
                "x = layer(x)",
                w.pick(f"if i != len({found}) - 1:", f"if i < len({found}) - 1:", "if i == 0:"),
                w.pick("    x = F.relu(x)", "    x = F.dropout(x, 0.2, self.training)"),
            ]
        ),
    )


def all_results(w: Writer) -> None:
    found, count = _list(w)
    name = w.attach(f"nn.Conv2d({4 * count}, 4, 1)")
    w.forward(
        w.pick(
            f"parts = [f(x) for f in {found}]",
            f"parts = []\nfor f in {found}:\n    parts.append(f(x))",
            f"parts = list(map(lambda f: f(x), {found}))",
            f"parts = tuple(f(x) for f in {found})",
        ),
        f"x = {name}(torch.cat(parts, dim=1))",
    )


def growing_concatenation(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.ModuleList()",
        "for i in range(2):",
        nested(
            [
                "width = 4 + 2 * i",
                f"self.{name}.append(nn.Sequential(nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1)))",
            ]
        ),
        f"self.{name}_last = nn.Conv2d(8, 4, 1)",
    )
    w.forward(
        f"for f in self.{name}:", "    x = torch.cat([x, f(x)], 1)", f"x = self.{name}_last(x)"
    )


def dictionary(w: Writer) -> None:
    name, layers = w.name(), w.layers(3)
    pairs = ", ".join(f"'p{i}': {layer}" for i, layer in enumerate(layers))
    w.build(f"self.{name} = nn.ModuleDict({{{pairs}}})")
    ways = (
        [f"for key in self.{name}:", f"    x = self.{name}[key](x)"],
        [f"for key, layer in self.{name}.items():", "    x = layer(x)"],
        [f"for layer in self.{name}.values():", "    x = layer(x)"],
        [f"x = self.{name}['p1'](self.{name}['p0'](x))"],
        [
            f"for key in self.{name}.keys():",
            nested(["if key != 'p0':", f"    x = self.{name}[key](x)"]),
        ],
        [f"if 'p0' in self.{name}:", f"    x = self.{name}['p0'](x)"],
        [f"x = self.{name}.p1(x)"],
    )
    w.forward(*w.random.choice(ways))


def dictionary_of_numbers(w: Writer) -> None:
    name = w.name()
    key = w.pick("str(i)", "f'{i}'", "f'layer_{i}'")
    w.build(
        f"self.{name} = nn.ModuleDict()",
        "for i in range(2):",
        nested(
            [w.pick(f"self.{name}[{key}] = {w.layer()}", f"self.{name}.update({{{key}: $BN(4)}})")]
        ),
    )
    w.forward("for i in range(2):", f"    x = self.{name}[{key}](x)")


def dictionary_of_lists(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.ModuleDict(",
        f"    {{'a': nn.ModuleList([{w.layer()}, $BN(4)]), 'b': nn.Sequential({w.layer()})}}",
        ")",
    )
    w.forward(f"for f in self.{name}['a']:", "    x = f(x)", f"x = self.{name}['b'](x)")


def lists_of_lists(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.ModuleList()",
        "for i in range(2):",
        nested(
            [
                f"row = nn.ModuleList([{w.layer()} for _ in range(i + 1)])",
                f"self.{name}.append(row)",
            ]
        ),
    )
    w.forward(f"for row in self.{name}:", "    for f in row:", "        x = f(x)")


def numbered_attributes(w: Writer) -> None:
    name, layer = w.name(), w.layer()
    key = w.pick(f"f'{name}_{{i}}'", f"'{name}_%d' % i", f"'{name}_' + str(i)")
    build = w.pick(f"setattr(self, {key}, {layer})", f"self.add_module({key}, {layer})")
    w.build("for i in range(2):", nested([build]))
    w.forward(
        *w.random.choice(
            (
                ["for i in range(2):", f"    x = getattr(self, {key})(x)"],
                ["for i in range(2):", f"    f = getattr(self, {key})", "    x = f(x)"],
                [f"x = self.{name}_1(self.{name}_0(x))"],
                [f"for f in [getattr(self, {key}) for i in range(2)]:", "    x = f(x)"],
            )
        )
    )


def names_kept_in_a_list(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name}_names = []",
        "for i, width in enumerate([4, 4]):",
        nested(
            [
                f"self.{name}_names.append(f'{name}_{{i}}')",
                f"self.add_module(self.{name}_names[-1], nn.BatchNorm2d(width))",
            ]
        ),
    )
    w.forward(f"for key in self.{name}_names:", "    x = F.relu(getattr(self, key)(x))")


def plain_list_beside(w: Writer) -> None:
    """Layers in attributes, listed in the forward."""
    first, second = w.attach(), w.attach()
    w.forward(
        w.pick(f"for f in [{first}, {second}]:", f"for f in ({second}, {first}):"), "    x = f(x)"
    )


def counted_down(w: Writer) -> None:
    found, count = _list(w)
    w.forward(
        w.pick(f"i = {count} - 1", f"i = len({found}) - 1"),
        "while i >= 0:",
        nested([f"x = {found}[i](x)", "i -= 1"]),
    )
