"""Helper methods, closures, lambdas, properties, super() and other ways to call."""

from __future__ import annotations

from writer import Writer, nested


def helper_method(w: Writer) -> None:
    name = w.name()
    layer = w.attach()
    ways = (
        f"return F.relu({layer}(y))",
        f"y = {layer}(y)\nreturn y",
        f"if scale:\n    return {layer}(y) * 2\nreturn {layer}(y)",
        f"out = {layer}(y)\nif not scale:\n    return out\nelse:\n    return out + y",
    )
    w.member(f"def _part_{name}(self, y, scale=False):\n{nested([w.random.choice(ways)])}")
    w.forward(f"x = self._part_{name}(x{w.pick('', ', True', ', scale=False')})")


def method_that_returns_a_tuple(w: Writer) -> None:
    name = w.name()
    first, second = w.attach(), w.attach()
    w.member(f"def _two_{name}(self, y):\n    return {first}(y), {second}(y)")
    w.forward(f"a, b = self._two_{name}(x)", w.pick("x = a + b", "x = b", "x = a * b"))


def method_given_a_layer(w: Writer) -> None:
    name = w.name()
    w.member(f"def _through_{name}(self, layer, y, *more):\n    return layer(y, *more)")
    w.forward(f"x = self._through_{name}({w.attach()}, x)")


def static_method(w: Writer) -> None:
    name = w.name()
    w.member(f"@staticmethod\ndef _act_{name}(y):\n    return F.relu(y) + 1")
    w.forward(f"x = self._act_{name}({w.attach()}(x))")


def closure(w: Writer) -> None:
    layer = w.attach()
    w.forward(
        *w.random.choice(
            (
                ["def inner(t):", f"    return {layer}(t)", "x = inner(x)"],
                [f"x = (lambda t: {layer}(t))(x)"],
                [f"run = {layer}", "x = run(x)"],
                [f"run = lambda t, f={layer}: F.relu(f(t))", "x = run(x)"],
                [f"x = functools.reduce(lambda t, f: f(t), [{layer}, F.relu], x)"],
            )
        )
    )


def property_of_layers(w: Writer) -> None:
    name = w.name()
    layer = w.attach()
    w.member(f"@property\ndef the_{name}(self):\n    return {layer}")
    w.forward(f"x = self.the_{name}(x)")


def function_as_attribute(w: Writer) -> None:
    name = w.name()
    function = w.pick(
        "F.relu", "torch.relu", "torch.tanh", "F.gelu", "partial(F.leaky_relu, negative_slope=0.2)"
    )
    w.build(f"self.{name} = {function}")
    layer = w.attach()
    w.forward(w.pick(f"x = self.{name}({layer}(x))", f"x = {layer}(self.{name}(x))"))


def activation_by_name(w: Writer) -> None:
    name, layer = w.name(), w.attach()
    w.build(
        w.pick(
            f"self.{name} = getattr(F, 'relu')",
            f"self.{name} = {{'relu': F.relu, 'tanh': torch.tanh}}['tanh']",
            f"self.{name} = getattr(nn, 'ReLU')()",
            f"self.{name} = nn.ModuleDict({{'relu': nn.ReLU(), 'elu': nn.ELU()}})['elu']",
        )
    )
    w.forward(f"x = {layer}(self.{name}(x))")


def explicit_forward(w: Writer) -> None:
    layer = w.attach(w.pick("nn.BatchNorm2d(4)", "$conv()", "nn.ReLU()"))
    w.forward(w.pick(f"x = {layer}.forward(x)", f"x = {layer}.__call__(x)"))


def keyword_call(w: Writer) -> None:
    layer = w.attach(w.pick("nn.BatchNorm2d(4)", "$conv()", "nn.ReLU()", "nn.Dropout(0.1)"))
    w.forward(
        w.pick(f"x = {layer}(input=x)", f"x = {layer}(**{{'input': x}})", f"x = {layer}(*[x])")
    )


def layer_in_a_function(w: Writer) -> None:
    """A function of the file is given layers and data."""
    first, second = w.attach(), w.attach()
    w.forward(
        w.pick(
            f"x = $run_all([{first}, {second}], x)",
            f"x = $run_all(layers=({second},), x=x)",
            f"x = $run_two({first}, {second}, x)",
            f"x = $compose({first}, {second})(x)",
        )
    )


def tail_called_early(w: Writer) -> None:
    """A method that returns early, decided by the constructor."""
    name = w.name()
    w.build(f"self.{name}_early = {w.pick('True', 'False')}")
    first, second = w.attach(), w.attach()
    w.member(
        f"def _maybe_{name}(self, y):\n    y = {first}(y)\n    if self.{name}_early:\n"
        f"        return y\n    y = {second}(y)\n    return F.relu(y)"
    )
    w.forward(f"x = self._maybe_{name}(x)")


def local_class(w: Writer) -> None:
    name = w.name()
    w.build(
        "class Local(nn.Module):",
        nested(
            [
                "def __init__(self, layer):",
                "    super().__init__()",
                "    self.layer = layer",
                "def forward(self, x):",
                "    return F.relu(self.layer(x))",
            ]
        ),
        f"self.{name} = Local({w.layer()})",
    )
    w.forward(f"x = self.{name}(x)")


def recursion(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.ModuleList([{w.layer()}, {w.layer()}, nn.BatchNorm2d(4)])")
    w.member(
        f"def _deep_{name}(self, n, y):\n    y = self.{name}[n](y)\n"
        f"    if n > 0:\n        return self._deep_{name}(n - 1, y)\n    return y"
    )
    w.forward(f"x = self._deep_{name}({w.pick('2', '1', f'len(self.{name}) - 1')}, x)")


def generator_of_layers(w: Writer) -> None:
    name = w.name()
    first, second = w.attach(), w.attach()
    w.member(f"def _each_{name}(self):\n    yield {first}\n    yield {second}")
    w.forward(f"for f in self._each_{name}():", "    x = f(x)")


def list_of_operations(w: Writer) -> None:
    layer = w.attach()
    w.forward(
        w.pick(
            f"for op in [{layer}, F.relu, lambda t: t * 2]:\n    x = op(x)",
            f"for op in ({layer}, torch.tanh):\n    x = op(x) + x",
            f"ops = {{'a': {layer}, 'b': F.gelu}}\nfor key in 'ab':\n    x = ops[key](x)",
        )
    )


def decorated_method(w: Writer) -> None:
    name, layer = w.name(), w.attach()
    decorator = w.pick("torch.no_grad()", "$twice", "torch.jit.ignore", "$named('half')")
    w.member(f"@{decorator}\ndef _wrapped_{name}(self, y):\n    return {layer}(y)")
    w.forward(f"x = self._wrapped_{name}(x)")


def optional_input(w: Writer) -> None:
    name, layer = w.name(), w.attach()
    w.member(
        f"def _with_{name}(self, y, skip=None, *, scale=None):\n    if skip is not None:\n"
        f"        y = y + skip\n    y = {layer}(y)\n    return y if scale is None else y * scale"
    )
    w.forward(
        f"x = self._with_{name}(x{w.pick('', ', x', ', skip=x', ', scale=2', ', x, scale=3')})"
    )


def results_by_name(w: Writer) -> None:
    """A helper returns a dictionary or a named tuple."""
    name = w.name()
    first, second = w.attach(), w.attach()
    w.member(
        f"def _named_{name}(self, y):\n    low = {first}(y)\n"
        f"    return {{'low': low, 'high': {second}(low)}}"
    )
    w.forward(
        f"out = self._named_{name}(x)",
        w.pick("x = out['high']", "x = out['low'] + out['high']", "x = list(out.values())[0]"),
    )


def checkpointed(w: Writer) -> None:
    name, layer = w.name(), w.attach()
    w.build(f"self.{name}_cp = {w.pick('True', 'False')}")
    w.forward(
        f"if self.{name}_cp:",
        f"    x = torch.utils.checkpoint.checkpoint({layer}, x, use_reentrant=False)",
        "else:",
        f"    x = {layer}(x)",
    )


def submodule_by_path(w: Writer) -> None:
    name = w.name()
    w.build(f"self.{name} = nn.Sequential(nn.Sequential({w.layer()}), {w.layer()})")
    w.forward(
        w.pick(
            f"x = self.get_submodule('{name}.0')(x)",
            f"x = self._modules['{name}'](x)",
            f"x = self.{name}.get_submodule('1')(x)",
            f"x = dict(self.named_children())['{name}'](x)",
            f"x = getattr(self.{name}, '0')(x)",
        )
    )
