"""What decides the layer of a step: flags, constants, options, configurations."""

from __future__ import annotations

from writer import Writer, nested


def _then_run(w: Writer, name: str) -> None:
    w.forward(f"x = self.{name}(x)")


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


def options_popped(w: Writer) -> None:
    name = w.name()
    w.build(
        w.pick(
            f"cfg = dict(type='bn', eps=1e-3)\nself.{name} = $NORMS[cfg.pop('type')](4, **cfg)",
            f"cfg = {{'width': 4, 'eps': 1e-4}}\nwidth = cfg.pop('width')\n"
            f"self.{name} = nn.BatchNorm2d(width, **cfg)",
            f"cfg = dict(eps=1e-3)\ncfg.setdefault('momentum', 0.2)\n"
            f"self.{name} = nn.BatchNorm2d(4, **cfg)",
            f"cfg = dict(eps=1e-3, **{{'momentum': 0.3}})\ndel cfg['eps']\n"
            f"self.{name} = nn.BatchNorm2d(4, **cfg)",
            f"cfg = {{**dict(eps=1e-3), 'eps': 1e-2}}\nself.{name} = nn.BatchNorm2d(4, **cfg)",
            f"cfg = dict(eps=1e-3) | {{'momentum': 0.3}}\nself.{name} = nn.BatchNorm2d(4, **cfg)",
        )
    )
    _then_run(w, name)


def decided_by_a_test(w: Writer) -> None:
    """Tests of constants of every kind."""
    name = w.name()
    test = w.pick(
        "0 < 0.5 < 1",
        "any([False, True])",
        "all(k > 1 for k in (1, 3))",
        "isinstance(3, int)",
        "isinstance((3, 3), (list, tuple))",
        "'bn'.upper() == 'BN'",
        "'norm' in 'batch_norm'",
        "callable(nn.ReLU)",
        "issubclass(nn.BatchNorm2d, nn.Module)",
        "nn.BatchNorm2d is $BN",
        "len([1, 2]) == 2 and not None",
        "('a', 1) == ('a', 1)",
        "[1, 2] != [1, 2]",
        "bool(0)",
        "'resnet18'.startswith('res')",
        "max(3, 4) >= 4 or False",
        "(1 if 2 > 1 else 0) == 1",
        "'x' not in {'x': 1}",
        "__name__ == '__main__'",
    )
    w.build(
        f"if {test}:", f"    self.{name} = {w.layer()}", "else:", f"    self.{name} = {w.layer()}"
    )
    _then_run(w, name)


def constructor_that_refuses(w: Writer) -> None:
    name = w.name()
    w.build(
        "mode = 'same'",
        "if mode not in ('same', 'valid'):",
        "    raise ValueError(f'unknown mode {mode}')",
        "assert mode == 'same', 'only same'",
        f"self.{name} = {w.layer()}",
    )
    _then_run(w, name)
