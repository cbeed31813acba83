"""How the layer of a step comes to be: classes as values, factories, copies, later changes."""

from __future__ import annotations

from writer import Writer, nested


def _then_run(w: Writer, name: str) -> None:
    w.forward(f"x = self.{name}(x)")


def class_as_a_value(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"norm = $BN\nself.{name} = norm(4)",
            f"norm, act = nn.BatchNorm2d, nn.ReLU\nself.{name} = nn.Sequential(norm(4), act())",
            f"self.{name} = getattr(nn, 'BatchNorm2d')(4)",
            f"self.{name} = getattr(nn, f'BatchNorm{{2}}d')(4)",
            f"self.{name} = {{'bn': $BN, 'gn': nn.GroupNorm}}['bn'](4)",
            f"self.{name} = dict(bn=$Norm, gn=nn.GroupNorm).get('bn')(4)",
            f"self.{name} = [nn.Identity, nn.BatchNorm2d][1](4)",
            f"self.norm_class = nn.BatchNorm2d\nself.{name} = self.norm_class(4)",
        )
    )
    _then_run(w, name)


def partials(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"self.{name} = partial(nn.BatchNorm2d, eps=1e-3)(4)",
            f"norm = functools.partial($BN, momentum=0.3)\nself.{name} = norm(4, eps=1e-4)",
            f"norm = partial(partial($BN, eps=1e-2), momentum=None)\nself.{name} = norm(4)",
            f"norm = partial($BN, 4)\nself.{name} = nn.Sequential(norm(), norm(affine=False))",
            f"norm = lambda c: nn.BatchNorm2d(c, momentum=0.3)\nself.{name} = norm(2 * 2)",
        )
    )
    _then_run(w, name)


def built_by_a_method(w: Writer) -> None:
    name = w.name()
    w.member(
        f"def _make_{name}(self, width, count=2, norm_layer=nn.BatchNorm2d):\n"
        f"    layers = []\n    for i in range(count):\n"
        f"        layers.append({w.layer()})\n        layers.append(norm_layer(width))\n"
        f"    return nn.Sequential(*layers)"
    )
    w.build(f"self.{name} = self._make_{name}({w.pick('4', '4, 1', '4, norm_layer=$Norm')})")
    _then_run(w, name)


def built_by_a_local_function(w: Writer) -> None:
    name = w.name()
    w.build(
        f"def unit(width, act={w.pick('nn.ReLU', 'None', 'nn.GELU')}):",
        nested(
            [
                f"layers = [{w.layer()}, nn.BatchNorm2d(width)]",
                "return nn.Sequential(*layers, *([act()] if act else []))",
            ]
        ),
        f"self.{name} = nn.Sequential(unit(4), unit(4, act=nn.Tanh))",
    )
    _then_run(w, name)


def static_factory(w: Writer) -> None:
    name = w.name()
    w.member(f"@staticmethod\ndef _unit_{name}(k):\n    return nn.Sequential($conv(k=k), $BN(4))")
    w.build(f"self.{name} = {w.pick('self', 'type(self)', 'self.__class__')}._unit_{name}(3)")
    _then_run(w, name)


def copied(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = {w.layer()}", f"self.{name}_d = copy.deepcopy(self.{name})")
    w.forward(f"x = self.{name}_d(self.{name}(x))")


def clones(w: Writer) -> None:
    name = w.name()
    w.build(
        f"layer = {w.layer()}",
        f"self.{name} = nn.ModuleList([copy.deepcopy(layer) for _ in range(2)])",
    )
    w.forward(f"for f in self.{name}:", "    x = f(x)")


def initialised(w: Writer) -> None:
    """Loops over all modules, which change no structure."""
    ways = (
        [
            "for m in self.modules():",
            "    if isinstance(m, nn.Conv2d):",
            "        nn.init.kaiming_normal_(m.weight, mode='fan_out')",
            "        if m.bias is not None:",
            "            nn.init.zeros_(m.bias)",
            "    elif isinstance(m, nn.BatchNorm2d) and m.affine:",
            "        m.weight.data.fill_(1)",
            "        m.bias.data.zero_()",
        ],
        [
            "for name, p in self.named_parameters():",
            "    if p.dim() > 1:",
            "        nn.init.xavier_uniform_(p)",
        ],
        ["self.apply(lambda m: None)"],
        [
            "for m in self.modules():",
            "    if type(m) == nn.Linear:",
            "        m.reset_parameters()",
        ],
    )
    w.build(*w.random.choice(ways))
    w.forward(f"x = {w.attach()}(x)")


def changed_settings(w: Writer) -> None:
    """An attribute of a layer that is set after it was built."""
    name = w.name()
    w.build(f"self.{name} = nn.BatchNorm2d(4)")
    w.build(w.pick(f"self.{name}.eps = 1e-2", f"self.{name}.momentum = 0.3"))
    _then_run(w, name)


def batchnorm_1d(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Linear(4, 4)", f"self.{name}_bn = nn.BatchNorm1d(4)")
    w.forward(f"x = self.{name}_bn(self.{name}(x.mean((2, 3)))).view(-1, 4, 1, 1) + x")


def assigned_together(w: Writer) -> None:
    first, second = w.name(), w.name()
    w.build(f"self.{first}, self.{second} = {w.layer()}, {w.layer()}")
    call = f"self.{second}(self.{first}(x))"
    w.forward(f"x = {w.pick(call, f'F.relu({call})', f'{call}.relu()')}")


def same_layer_under_two_names(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = {w.layer()}", f"self.{name}_too = self.{name}")
    w.forward(f"x = self.{name}_too(F.relu(self.{name}(x)))")


def replaced(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = {w.layer()}", f"self.{name} = {w.layer()}")
    _then_run(w, name)


def replaced_in_a_block(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = $WrappedNorm(4)", f"self.{name}.act = {w.pick('nn.Tanh()', '$BN(4)')}")
    _then_run(w, name)


def widths_by_index(w: Writer) -> None:
    name = w.name()
    loop = w.pick(
        "for i in range(len(channels) - 1):\n    a, b = channels[i], channels[i + 1]",
        "for i, b in enumerate(channels[1:], 1):\n    a = channels[i - 1]",
        "for a, b in itertools.pairwise(channels):\n    pass",
    )
    more = w.pick("[8, 6]", "[4 * 2 ** i for i in range(2)]", "list(range(6, 9))")
    w.build(
        f"channels = [4] + {more}",
        "layers = []",
        loop,
        nested(["layers += [nn.Conv2d(a, b, 1), nn.BatchNorm2d(b), nn.ReLU()]"]),
        f"self.{name} = nn.Sequential(*layers, nn.Conv2d(channels[-1], 4, 1))",
    )
    _then_run(w, name)


def filtered(w: Writer) -> None:
    name = w.name()
    maybe = w.pick("None", w.layer(), "None if 4 > 3 else nn.ReLU()")
    w.build(
        w.pick(
            f"self.{name} = nn.Sequential(*filter(None, [{w.layer()}, {maybe}, nn.ReLU()]))",
            f"layers = [{w.layer()}, {maybe}, nn.BatchNorm2d(4)]\n"
            f"self.{name} = nn.Sequential(*[l for l in layers if l])",
            f"layers = [{w.layer()}, {maybe}]\n"
            f"self.{name} = nn.Sequential(*filter(lambda l: l is not None, layers))",
        )
    )
    _then_run(w, name)


def mapped(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"self.{name} = nn.Sequential(*map(nn.BatchNorm2d, [4, 4]))",
            f"self.{name} = nn.Sequential(*itertools.chain([{w.layer()}], [{w.layer()}]))",
            f"self.{name} = nn.Sequential(*sum([[{w.layer()}], [nn.BatchNorm2d(4)]], []))",
            f"rows = [(4, 4), (1e-3, 1e-4)]\n"
            f"self.{name} = nn.Sequential(*[$BN(c, eps) for c, eps in zip(*rows)])",
            f"kinds = [k for k in 'bn conv none'.split() if k != 'conv']\n"
            f"self.{name} = nn.Sequential(*[$make(k) for k in kinds])",
        )
    )
    _then_run(w, name)


def dictionary_comprehension(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.ModuleDict({{k: $make(k) for k in ('bn', 'none')}})",
        w.pick("pass", f"self.{name}['last'] = {w.layer()}"),
    )
    w.forward(f"for f in self.{name}.values():", "    x = f(x)")


def parametrised(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"self.{name} = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))",
            f"self.{name} = nn.utils.spectral_norm(nn.Conv2d(4, 4, 1))",
            f"self.{name} = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(4, 4, 1)), $BN(4))",
        )
    )
    _then_run(w, name)


def part_of_another_network(w: Writer) -> None:
    """A network is built and taken apart."""
    name = w.name()
    w.build(
        w.pick(
            f"net = $resnet(10)\n"
            f"self.{name} = nn.Sequential(net.layer1, net.layer2, nn.Conv2d(2, 4, 1))",
            f"net = $Stages($BasicBlock, [1, 1])\nnet.head = nn.Conv2d(2, 4, 1)\nself.{name} = net",
            f"net = $resnet(10)\nself.{name} = nn.Sequential(*list(net.children())[:1], $BN(4))",
            f"self.{name} = nn.Sequential($resnet(14).get_submodule('layer1'), nn.Conv2d(8, 4, 1))",
        )
    )
    _then_run(w, name)


def ignored_arguments(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Identity(4, some='thing'), $BN(4))"
    )
    _then_run(w, name)
