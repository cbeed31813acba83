"""Branches that the text leaves open: what a run takes is one of the alternatives."""

from __future__ import annotations

from writer import Writer, nested


def _test(w: Writer) -> str:
    return w.pick(
        "self.training", "x.shape[0] > 3", "x.sum() > 1e9", "not self.training", "x.size(1) == 4"
    )


def one_or_the_other(w: Writer) -> None:
    first, second = w.attach(), w.attach()
    w.forward(f"if {_test(w)}:", f"    x = {first}(x)", "else:", f"    x = {second}(x)")


def blocks_of_steps(w: Writer) -> None:
    w.forward(f"if {_test(w)}:", nested(w.block()), "else:", nested(w.block()))


def optional(w: Writer) -> None:
    w.forward(f"if {_test(w)}:", nested(w.block()))


def conditional_expression(w: Writer) -> None:
    first, second = w.attach(), w.attach()
    w.forward(
        w.pick(
            f"x = {first}(x) if {_test(w)} else {second}(x)",
            f"x = ({first} if {_test(w)} else {second})(x)",
            f"f = {first}\nif {_test(w)}:\n    f = {second}\nx = f(x)",
        )
    )


def three_ways(w: Writer) -> None:
    layers = [w.attach() for _ in range(3)]
    w.forward(
        f"if {_test(w)}:",
        f"    x = {layers[0]}(x)",
        f"elif {_test(w)}:",
        f"    x = {layers[1]}(x)",
        "else:",
        f"    x = {layers[2]}(x)",
    )


def early_return(w: Writer) -> None:
    name = w.name()
    first, second = w.attach(), w.attach()
    w.member(
        f"def _early_{name}(self, x):\n    x = {first}(x)\n    if {_test(w)}:\n"
        f"        return x\n    return {second}(F.relu(x))"
    )
    w.forward(f"x = self._early_{name}(x)")


def open_break(w: Writer) -> None:
    name = w.attach()
    w.forward("for i in range(3):", nested([f"x = {name}(x)", f"if {_test(w)}:", "    break"]))


def tried(w: Writer) -> None:
    first, second = w.attach(), w.attach()
    w.forward("try:", f"    x = {first}(x)", "except RuntimeError:", f"    x = {second}(x)")


def open_option(w: Writer) -> None:
    """An option of the command line: its default may be changed."""
    name = w.name()
    w.build(
        "parser = argparse.ArgumentParser()",
        f"parser.add_argument('--norm', action='store_{w.pick('true', 'false')}')",
        "parser.add_argument('--width', type=int, default=4)",
        "args = parser.parse_args([])",
        f"self.{name} = nn.BatchNorm2d(args.width) if args.norm else {w.layer()}",
    )
    w.forward(f"x = self.{name}(x)")


def open_count(w: Writer) -> None:
    name = w.attach()
    w.forward("for _ in range(x.shape[0] // 2):", nested([f"x = {name}(x)"]))


def open_choice_of_layers(w: Writer) -> None:
    found = w.name()
    w.build(f"self.{found} = nn.ModuleList([{w.layer()}, {w.layer()}])")
    w.forward(f"x = self.{found}[x.shape[0] % 2](x)")


def random_depth(w: Writer) -> None:
    """Stochastic depth by hand."""
    name = w.attach()
    w.forward(
        "if self.training and torch.rand(1).item() < 0.5:",
        "    x = x + 0",
        "else:",
        f"    x = x + {name}(x)",
    )
