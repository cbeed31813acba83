"""How the layer of a step comes to be: classes as values, flags, constants, configurations."""

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


def spread_arguments(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"options = {{'eps': 1e-4, 'momentum': None}}\nself.{name} = $BN(4, **options)",
            f"options = dict(eps=1e-4)\noptions['momentum'] = 0.3\nself.{name} = $BN(4, **options)",
            f"options = {{}}\noptions.update(affine=False)\nself.{name} = $BN(4, **options)",
            f"sizes = (4,)\nself.{name} = $BN(*sizes)",
            f"both = {{'num_features': 4, **{{'eps': 1e-2}}}}\nself.{name} = $BN(**both)",
            f"options = {{'bias': False}}\nself.{name} = nn.Conv2d(4, 4, 1, **options)",
        )
    )
    _then_run(w, name)


def arithmetic(w: Writer) -> None:
    name = w.name()
    width = w.pick(
        "2 * 2",
        "8 // 2",
        "int(4.0)",
        "max(4, 2)",
        "$WIDTH",
        "sum([1, 3])",
        "4 ** 1",
        "-(-7 // 2)",
        "int(math.ceil(3.5))",
        "(16 >> 2)",
        "len('four')",
        "abs(-4)",
    )
    w.build(f"width = {width}", f"self.{name} = nn.BatchNorm2d(width, eps=1e-{w.pick('3', '4')})")
    _then_run(w, name)


def class_constant(w: Writer) -> None:
    name = w.name()
    w.member(f"{name}_width = {w.pick('4', '2 + 2', '$WIDTH')}")
    w.build(f"self.{name} = nn.BatchNorm2d(self.{name}_width)")
    _then_run(w, name)


def flag(w: Writer) -> None:
    name, value = w.name(), w.pick("True", "False", "not False", "'bn' == 'bn'", "3 > 4", "None")
    w.build(f"use = {value}")
    if w.chance():
        w.build(f"self.{name} = {w.layer()} if use else {w.layer()}")
    else:
        w.build("if use:", f"    self.{name} = {w.layer()}")
        w.build("else:", f"    self.{name} = {w.layer()}")
    _then_run(w, name)


def chosen_by_name(w: Writer) -> None:
    name, kind = w.name(), w.pick("bn", "conv", "none")
    names = w.pick("('conv', 'c')", "['conv']", "{'conv'}")
    w.build(
        f"kind = '{kind}'",
        "if kind == 'bn':",
        f"    self.{name} = nn.BatchNorm2d(4)",
        f"elif kind in {names}:",
        f"    self.{name} = {w.layer()}",
        "else:",
        f"    self.{name} = nn.Identity()",
    )
    _then_run(w, name)


def matched(w: Writer) -> None:
    name, kind = w.name(), w.pick("bn", "relu", "other")
    w.build(
        f"kind = '{kind}'",
        "match kind:",
        nested(
            [
                f"case 'bn':\n    self.{name} = nn.BatchNorm2d(4)",
                f"case 'relu' | 'elu':\n    self.{name} = nn.ReLU()",
                f"case _:\n    self.{name} = {w.layer()}",
            ]
        ),
    )
    _then_run(w, name)


def optional_layer(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = {w.layer() if w.chance() else 'None'}")
    w.forward(
        *w.random.choice(
            (
                [f"if self.{name} is not None:", f"    x = self.{name}(x)"],
                [f"if self.{name}:", f"    x = self.{name}(x)"],
                [f"x = self.{name}(x) if self.{name} is not None else x"],
                [f"if self.{name} is None:", "    pass", "else:", f"    x = self.{name}(x)"],
            )
        )
    )


def identity_by_flag(w: Writer) -> None:
    name, value = w.name(), w.pick("0.0", "0.2", "1")
    w.build(f"p = {value}", f"self.{name} = nn.Dropout(p) if p > 0.0 else nn.Identity()")
    _then_run(w, name)


def remembered_flag(w: Writer) -> None:
    """A flag that the constructor keeps and the forward asks."""
    name, value = w.name(), w.pick("True", "False")
    w.build(f"self.{name}_use = {value}")
    first, second = w.attach(), w.attach()
    w.forward(
        f"if self.{name}_use{w.pick('', ' is True', ' == True')}:",
        nested([f"x = {first}(x)"]),
        "else:",
        nested([f"x = {second}(x)"]),
    )


def built_under_a_flag(w: Writer) -> None:
    """A layer that only exists when a flag is set."""
    name, value = w.name(), w.pick("True", "False")
    w.build(f"self.{name}_use = {value}", f"if self.{name}_use:", f"    self.{name} = {w.layer()}")
    w.forward(
        w.pick(f"if self.{name}_use:", f"if hasattr(self, '{name}'):"), f"    x = self.{name}(x)"
    )


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


def namespace_of_options(w: Writer) -> None:
    name = w.name()
    w.build(
        f"cfg = SimpleNamespace(width=4, eps=1e-4, use={w.pick('True', 'False')})",
        f"self.{name} = nn.BatchNorm2d(cfg.width, cfg.eps) if cfg.use else {w.layer()}",
    )
    _then_run(w, name)


def dictionary_of_options(w: Writer) -> None:
    name = w.name()
    w.build(
        "cfg = {'norm': {'width': 4, 'eps': 1e-4}, 'kernels': [1, 3]}",
        f"self.{name} = nn.Sequential(",
        "    nn.Conv2d(cfg['norm']['width'], 4, cfg['kernels'][0]),",
        "    nn.BatchNorm2d(cfg['norm']['width'], eps=cfg['norm'].get('eps', 1e-5)),",
        ")",
    )
    _then_run(w, name)


def table_of_settings(w: Writer) -> None:
    """Rows of numbers as in MobileNet and EfficientNet."""
    name = w.name()
    w.build(
        "rows = [\n    # t, c, n\n    [1, 6, 1],\n    [2, 4, 2],\n]",
        "inputs, layers = 4, []",
        "for t, c, n in rows:",
        nested(
            [
                "for i in range(n):",
                nested(
                    [
                        "layers.append($InvertedResidual(inputs, c, 1, expand_ratio=t))",
                        "inputs = c",
                    ]
                ),
            ]
        ),
        f"self.{name} = nn.Sequential(*layers)",
    )
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
