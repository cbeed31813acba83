"""Building a Sequential."""

from __future__ import annotations

from writer import Writer, nested


def _run(w: Writer, name: str) -> None:
    w.forward(f"x = self.{name}(x)")


def literal(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential({', '.join(w.layers())})")
    _run(w, name)


def starred_list(w: Writer) -> None:
    name = w.name()
    w.build(f"layers = [{', '.join(w.layers())}]", f"self.{name} = nn.Sequential(*layers)")
    _run(w, name)


def appended(w: Writer) -> None:
    name = w.name()
    w.build("layers = []", *(f"layers.append({layer})" for layer in w.layers()))
    w.build(f"self.{name} = nn.Sequential(*layers)")
    _run(w, name)


def added(w: Writer) -> None:
    name = w.name()
    w.build("layers = []", *(f"layers += [{layer}]" for layer in w.layers()))
    w.build(f"self.{name} = nn.Sequential(*layers)")
    _run(w, name)


def extended_and_inserted(w: Writer) -> None:
    name = w.name()
    w.build(
        f"layers = [{w.layer()}]",
        f"layers.extend([{', '.join(w.layers())}])",
        f"layers.insert({w.pick('0', '1', 'len(layers)', '-1')}, {w.layer()})",
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def popped(w: Writer) -> None:
    name = w.name()
    w.build(
        f"layers = [{', '.join(w.layers())}, nn.ReLU()]",
        w.pick("layers.pop()", "layers.pop(0)", "layers = layers[:-1]", "del layers[-1]"),
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def concatenated_lists(w: Writer) -> None:
    name = w.name()
    first, second = w.layers(2), w.layers(2)
    w.build(f"self.{name} = nn.Sequential(*([{', '.join(first)}] + [{', '.join(second)}]))")
    _run(w, name)


def loop_of_blocks(w: Writer) -> None:
    name = w.name()
    count = w.pick("2", "3", "len((1, 2))")
    w.build(
        "layers = []",
        f"for i in range({count}):",
        nested(
            [f"layers.append({w.layer()})", f"if i < {count} - 1:", "    layers += [nn.ReLU()]"]
        ),
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def loop_over_sizes(w: Writer) -> None:
    name = w.name()
    pairs = w.pick("zip(sizes[:-1], sizes[1:])", "zip(sizes, sizes[1:])", "[(4, 6), (6, 4)]")
    w.build(
        "sizes = [4, 6, 4]",
        "layers = []",
        f"for inputs, outputs in {pairs}:",
        nested(
            [
                "layers += [nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs)]",
                "if outputs != sizes[-1]:",
                "    layers.append(nn.ReLU(inplace=True))",
            ]
        ),
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def loop_with_running_width(w: Writer) -> None:
    name = w.name()
    w.build(
        "width, layers = 4, []",
        f"for v in {w.pick('[8, 4]', '(2, 8, 4)', 'range(8, 3, -4)')}:",
        nested(
            [
                "layers.append(nn.Sequential(nn.Conv2d(width, v, 1), nn.BatchNorm2d(v)))",
                "width = v",
            ]
        ),
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def doubling(w: Writer) -> None:
    name = w.name()
    w.build(
        "mult = 1",
        "layers = []",
        "for n in range(1, 3):",
        nested(
            [
                "before, mult = mult, min(2 ** n, 2)",
                "layers += [nn.Conv2d(4 * before, 4 * mult, 1), nn.BatchNorm2d(4 * mult)]",
            ]
        ),
        "layers += [nn.Conv2d(4 * mult, 4, 1)]",
        f"self.{name} = nn.Sequential(*layers)",
    )
    _run(w, name)


def comprehension(w: Writer) -> None:
    name = w.name()
    layer = w.layer()
    inner = w.pick(
        f"*[{layer} for _ in range(2)]",
        f"*({layer} for _ in range(3))",
        f"*[{layer} if i % 2 else nn.ReLU() for i in range(3)]",
        "*[f(4) for f in ($BN, $Norm)]",
        f"*[l for l in (nn.BatchNorm2d(4), None, {layer}) if l is not None]",
        f"*[{layer} for i in range(2) for j in range(i + 1)]",
    )
    w.build(f"self.{name} = nn.Sequential({inner}, {', '.join(w.layers(2))})")
    _run(w, name)


def ordered(w: Writer) -> None:
    name = w.name()
    pairs = ", ".join(f"('p{i}', {layer})" for i, layer in enumerate(w.layers()))
    w.build(f"self.{name} = nn.Sequential(OrderedDict([{pairs}]))")
    _run(w, name)


def ordered_by_item(w: Writer) -> None:
    name = w.name()
    w.build("parts = OrderedDict()")
    w.build(*(f"parts['p{i}'] = {layer}" for i, layer in enumerate(w.layers())))
    w.build(f"self.{name} = nn.Sequential(parts)")
    _run(w, name)


def added_modules(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential()")
    w.build(*(f"self.{name}.add_module('p{i}', {x})" for i, x in enumerate(w.layers())))
    _run(w, name)


def added_by_number(w: Writer) -> None:
    name = w.name()
    key = w.pick("f'p{i}'", "'p%d' % i", "'p{}'.format(i)", "'p' + str(i)", "str(i)")
    w.build(
        f"self.{name} = nn.Sequential()",
        "for i in range(2):",
        nested([f"self.{name}.add_module({key}, {w.layer()})"]),
    )
    _run(w, name)


def attributes_of_sequential(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.Sequential()",
        f"self.{name}.first = {w.layer()}",
        f"self.{name}.second = {w.layer()}",
    )
    _run(w, name)


def changed_later(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential({', '.join(w.layers())})")
    w.build(
        w.pick(
            f"self.{name}.append({w.layer()})",
            f"self.{name}.insert(1, {w.layer()})",
            f"self.{name}[1] = {w.layer()}",
            f"self.{name}[-1] = {w.layer()}",
            f"self.{name}.extend([{w.layer()}])",
        )
    )
    _run(w, name)


def sum_of_sequentials(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential({w.layer()}) + nn.Sequential({w.layer()}, {w.layer()})")
    _run(w, name)


def sliced(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential({w.layer()}, {w.layer()}, $BN(4))")
    w.forward(
        w.pick(
            f"x = self.{name}[1:](self.{name}[0](x))",
            f"x = self.{name}[:2](x)",
            f"x = self.{name}[:-1](x)\nx = self.{name}[-1](x)",
        )
    )


def of_children(w: Writer) -> None:
    name = w.name()
    w.build(
        f"whole = nn.Sequential({', '.join(w.layers())}, nn.BatchNorm2d(4))",
        f"self.{name} = nn.Sequential(*list(whole.children()){w.pick('', '[1:]', '[:-1]')})",
    )
    _run(w, name)


def looped_children(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential({', '.join(w.layers())})")
    w.forward(
        w.pick(
            f"for f in self.{name}:",
            f"for f in self.{name}.children():",
            f"for _, f in self.{name}.named_children():",
            f"for f in self.{name}._modules.values():",
            f"for f in list(self.{name}):",
        ),
        "    x = f(x)",
    )


def optional_elements(w: Writer) -> None:
    name = w.name()
    there = w.pick("True", "False", "None", "0.5 > 0")
    w.build(
        f"there = {there}",
        f"self.{name} = nn.Sequential({w.layer()}, *([{w.layer()}] if there else []), {w.layer()})",
    )
    _run(w, name)


def stage_of_stages(w: Writer) -> None:
    name = w.name()
    w.build(
        "stages = []",
        "for depth in (1, 2):",
        nested([f"stages.append(nn.Sequential(*[{w.layer()} for _ in range(depth)]))"]),
        f"self.{name} = nn.Sequential(*stages)",
    )
    _run(w, name)


def same_layer_twice(w: Writer) -> None:
    name = w.name()
    w.build(f"again = {w.layer()}", f"self.{name} = nn.Sequential(again, {w.layer()}, again)")
    _run(w, name)
