"""How data flows through a forward."""

from __future__ import annotations

from writer import Writer, nested


def plain(w: Writer) -> None:
    w.forward(f"x = {w.attach()}(x)")


def plain_blocks(w: Writer) -> None:
    for _ in range(2):
        w.forward(f"x = {w.attach(w.random.choice(w.uses))}(x)")


def functional(w: Writer) -> None:
    name = w.attach()
    w.forward(f"x = {name}(x)")
    w.forward(
        w.pick(
            "x = F.relu(x)",
            "x = torch.relu(x)",
            "x = x.relu()",
            "x = F.dropout(x, 0.1, self.training)",
            "x = F.dropout2d(x, p=0.3, training=self.training)",
            "x = torch.sigmoid(x)",
            "x = torch.nn.functional.leaky_relu(x, 0.1)",
            "x = F.silu(input=x)",
            "x = x.view(x.size(0), 4, 8, 8)",
            "x = x.flatten(2).reshape(-1, 4, 8, 8)",
            "x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)",
            "x = x * 2",
            "x = x / 2 - 1",
            "x = -x",
            "x = F.avg_pool2d(x, 3, 1, 1)",
            "x = F.max_pool2d(x, 3, stride=1, padding=1)",
            "x = F.interpolate(x, size=(8, 8))",
            "x = x.float().to(x.device)",
            "x = F.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]",
            "x = x.clamp(-5, 5)",
            "x = torch.clamp(x, min=-9)",
        )
    )


def functional_around(w: Writer) -> None:
    """A functional call nested with a layer's."""
    name = w.attach()
    w.forward(
        w.pick(
            f"x = F.relu({name}(x))",
            f"x = {name}(F.relu(x))",
            f"x = {name}(torch.tanh(x))",
            f"x = {name}(x).relu()",
            f"x = F.gelu({name}(x)) + x",
            f"x = {name}(input=F.gelu(x))" if _takes_input(w, name) else f"x = {name}(F.gelu(x))",
            f"x = torch.sigmoid({name}(x)) * x",
            f"x = {name}(F.dropout(x, p=0.2, training=self.training))",
            f"x = {name}(x.contiguous().to(x.device))",
        )
    )


def _takes_input(w: Writer, name: str) -> bool:
    return any(line.startswith(f"{name} = nn.BatchNorm2d(") for line in w._build)


def in_place(w: Writer) -> None:
    first, second = w.attach("$conv()"), w.attach()
    w.forward(f"x = {first}(x)")
    w.forward(
        w.pick(
            "F.relu(x, inplace=True)",
            "x.relu_()",
            "F.relu_(x)",
            "x = F.relu(x, inplace=True)",
            "x = F.elu(x, inplace=True)",
            "x += 1",
            "x *= 2",
            "x.add_(1)",
            "x = x.mul_(2)",
        ),
        f"x = {second}(x)",
    )


def residual(w: Writer) -> None:
    saved = f"y{w.name()}"
    w.forward(f"{saved} = x", *w.block())
    w.forward(
        w.pick(
            f"x = x + {saved}",
            f"x = {saved} + x",
            f"x = torch.add(x, {saved})",
            f"x = x.add({saved})",
            f"x = F.relu(x + {saved})",
            f"x = {saved} + 0.1 * x",
            f"x = torch.stack([x, {saved}]).sum(0)",
        )
    )


def projected_residual(w: Writer) -> None:
    saved, shortcut = (
        f"y{w.name()}",
        w.attach(w.pick("nn.Identity()", "$conv_bn(4)", "nn.Sequential()")),
    )
    w.forward(f"{saved} = {shortcut}(x)", *w.block(), f"x = F.relu(x + {saved})")


def concatenated(w: Writer) -> None:
    saved = f"y{w.name()}"
    w.forward(f"{saved} = x", *w.block())
    inner = w.pick("nn.Conv2d(8, 4, 1)", "nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))")
    join = w.pick(f"[x, {saved}], dim=1", f"({saved}, x), 1", f"[{saved}] + [x], 1")
    w.forward(f"x = {w.attach(inner)}(torch.cat({join}))")


def halves(w: Writer) -> None:
    name = w.attach("nn.BatchNorm2d(2)")
    w.forward(
        w.pick(
            f"a, b = x.chunk(2, 1)\nx = torch.cat(({name}(a), b), 1)",
            f"a, b = torch.split(x, 2, dim=1)\nx = torch.cat([b, {name}(a)], 1)",
            f"a, b = torch.chunk(x, chunks=2, dim=1)\nx = torch.cat((a, {name}(F.relu(b))), dim=1)",
            f"x = torch.cat([{name}(x[:, :2]), x[:, 2:]], 1)",
            f"parts = torch.split(x, [2, 2], 1)\nx = torch.cat([parts[0], {name}(parts[1])], 1)",
        )
    )


def channel_split_in_a_loop(w: Writer) -> None:
    """Res2Net: each part is added to the next one before its layer."""
    name = w.name()
    w.build(f"self.{name} = nn.ModuleList([nn.BatchNorm2d(2) for _ in range(2)])")
    w.forward(
        "parts, found, last = torch.chunk(x, 2, 1), [], 0",
        f"for i, f in enumerate(self.{name}):",
        nested(["last = f(parts[i] if i == 0 else parts[i] + last)", "found.append(last)"]),
        "x = torch.cat(found, 1)",
    )


def tuple_of_results(w: Writer) -> None:
    name = w.attach("$Pair()")
    w.forward(
        w.pick(
            f"x, _ = {name}(x)",
            f"x = {name}(x)[1]",
            f"pair = {name}(x)\nx = pair[0] + pair[-1]",
            f"_, x = {name}(x)",
            f"a, *b = {name}(x)\nx = a",
        )
    )


def kept_in_a_list(w: Writer) -> None:
    name = w.attach()
    w.forward(
        w.pick(
            f"found = [x]\nfound.append({name}(found[-1]))\nx = found[-1]",
            f"parts = [x, {name}(x)]\nx = parts[0] + parts[1]",
            f"x = sum([x, {name}(x)])",
            f"stack = []\nstack.append({name}(x))\nx = stack.pop() + x",
            f"outs = [None, None]\nouts[1] = {name}(x)\nx = outs[1]",
            f"a = ({name}(x), x)\nx = a[0] * a[1]",
        )
    )


def kept_in_a_dictionary(w: Writer) -> None:
    name = w.attach()
    w.forward(
        w.pick(
            f"seen = {{'x': {name}(x)}}\nx = seen['x']",
            f"seen = {{}}\nseen['a'] = {name}(x)\nx = seen['a'] + x",
            f"seen = dict(x=x)\nseen.update(y={name}(x))\nx = seen['y']",
            f"seen = OrderedDict()\nseen['a'] = {name}(x)\nx = list(seen.values())[-1]",
        )
    )


def reassigned(w: Writer) -> None:
    name = w.attach()
    w.forward(
        w.pick(
            f"x, z = {name}(x), x\nx = x + z",
            f"x = (z := {name}(x)) + z",
            f"out = {name}(x)\nout = F.relu(out)\nx = out",
            f"z = x\nx = {name}(z)\ndel z",
            f"h: torch.Tensor = {name}(x)\nx = h",
            f"a = b = {name}(x)\nx = a + F.relu(b)",
            f"if (y := {name}(x)) is not None:\n    x = y",
        )
    )


def two_heads(w: Writer) -> None:
    """A trunk's output read by two layers."""
    trunk, first, second = w.attach(), w.attach(), w.attach()
    w.forward(f"h = {trunk}(x)", f"x = {first}(h) + {second}(h)")


def gate(w: Writer) -> None:
    first, second = w.attach("nn.Sequential($conv(), $BN(4), nn.Sigmoid())"), w.attach()
    w.forward(f"g = {first}(x)", f"x = g * {second}(x) + (1 - g) * x")


def repeated(w: Writer) -> None:
    """One layer called in each round of a loop."""
    name = w.attach()
    w.forward(f"for _ in range({w.pick('2', '3')}):", nested([f"x = {name}(x)", "x = x * 2"]))


def repeated_block(w: Writer) -> None:
    w.forward("for step in range(2):", nested(w.block()))


def while_loop(w: Writer) -> None:
    name = w.attach()
    w.forward(
        *w.random.choice(
            (
                ["i = 0", "while i < 2:", f"    x = {name}(x)", "    i += 1"],
                ["i = 2", "while i:", f"    x = F.relu({name}(x))", "    i -= 1"],
                [
                    "n = 0",
                    "while True:",
                    f"    x = {name}(x)\n    n += 1",
                    "    if n == 2:\n        break",
                ],
            )
        )
    )


def loop_with_break(w: Writer) -> None:
    name = w.attach()
    w.forward(
        "for i in range(4):",
        nested(
            [
                w.pick("if i == 2:\n    break", "if i % 2 == 0:\n    continue"),
                f"x = {name}(x)",
            ]
        ),
    )


def inside_statements(w: Writer) -> None:
    """Statements that change no order."""
    body = nested(w.block())
    w.forward(
        *w.random.choice(
            (
                ["with torch.no_grad():", body],
                ["with torch.autocast('cpu', enabled=False):", body],
                ["try:", body, "finally:", "    pass"],
                ["if True:", body],
                ["assert x.dim() == 4, 'images'", "if 1 > 0:", body],
                ["for _ in [0]:", body],
            )
        )
    )


def guarded(w: Writer) -> None:
    """Checks that raise, and a `try` that does not fail."""
    name = w.attach()
    w.forward(
        *w.random.choice(
            (
                ["if x.dim() != 4:", "    raise ValueError(x.shape)", f"x = {name}(x)"],
                ["b, c, h, w = x.shape", f"x = {name}(x).view(b, c, h, w)"],
                ["b, c = x.shape[:2]", f"x = {name}(x).reshape(b, c, *x.shape[2:])"],
                [f"assert isinstance({name}, nn.Module)", f"x = {name}(x)"],
                ["size = x.size()[2:]", f"x = F.interpolate({name}(x), size, mode='nearest')"],
                ["if isinstance(x, (list, tuple)):", "    x = torch.cat(x, 1)", f"x = {name}(x)"],
            )
        )
    )


def global_context(w: Writer) -> None:
    name = w.attach("nn.Sequential(nn.AdaptiveAvgPool2d(1), $conv(k=1), nn.BatchNorm2d(4))")
    w.forward(f"x = x + {name}(x).expand_as(x)")


def shapes(w: Writer) -> None:
    name = w.attach("nn.BatchNorm1d(4)")
    w.forward(
        w.pick(
            f"x = {name}(x.flatten(2)).unflatten(2, (8, 8))",
            f"n, c, *_ = x.shape\nx = {name}(x.view(n, c, -1)).view_as(x)",
            f"y = x.permute(0, 2, 3, 1).reshape(-1, 4)\n"
            f"x = {name}(y).reshape(-1, 8, 8, 4).permute(0, 3, 1, 2)",
            f"x = x + {name}(x.mean(dim=[2, 3]))[:, :, None, None]",
            f"x = x * {name}(x.amax((2, 3))).unsqueeze(-1).unsqueeze(-1)",
        )
    )


def recurrent(w: Writer) -> None:
    name = w.name()
    w.build(
        f"self.{name} = nn.{w.pick('GRU', 'LSTM')}(4, 4, batch_first=True)",
        f"self.{name}_bn = nn.BatchNorm1d(4)",
    )
    w.forward(
        f"y, _ = self.{name}(x.flatten(2).transpose(1, 2))",
        f"x = x + self.{name}_bn(y.transpose(1, 2)).view_as(x)",
    )


def collected_outputs(w: Writer) -> None:
    """Some results of a chain are kept by their index."""
    names = [w.attach() for _ in range(3)]
    w.forward(
        "outs = []",
        f"for i, f in enumerate(({', '.join(names)})):",
        nested(["x = f(x)", "if i in (0, 2):", "    outs.append(x)"]),
        w.pick("x = outs[-1]", "x = outs[0] + outs[1]", "x = torch.stack(outs).mean(0)"),
    )


def multi_scale(w: Writer) -> None:
    names = [w.attach("$conv_bn(4)") for _ in range(2)]
    w.forward(
        "total = 0",
        f"for size, f in zip((1, 2), [{', '.join(names)}]):",
        nested(
            [
                "y = F.adaptive_avg_pool2d(x, size)",
                "total = total + F.interpolate(f(y), size=x.shape[2:], mode='bilinear')",
            ]
        ),
        "x = total",
    )


def attention_map(w: Writer) -> None:
    q, k = w.attach("nn.Conv2d(4, 2, 1)"), w.attach("nn.Sequential(nn.Conv2d(4, 2, 1), $BN(2))")
    w.forward(
        f"q, k = {q}(x).flatten(2), {k}(x).flatten(2)",
        "attn = torch.softmax(torch.bmm(q.transpose(1, 2), k), dim=-1)",
        "x = torch.bmm(x.flatten(2), attn).view(x.shape)",
    )


def written_parts(w: Writer) -> None:
    """A tensor is filled part by part."""
    name = w.attach("nn.BatchNorm2d(4)")
    w.forward(
        w.pick(
            f"y = torch.zeros_like(x)\ny[:, :2] = x[:, 2:]\nx = {name}(x + y)",
            f"noise = torch.randn_like(x)\nx = {name}(x + 0.1 * noise)",
            f"mask = (x > 0).float()\nx = {name}(x * mask)",
            f"x = {name}(torch.where(x > 0, x, 0.1 * x))",
            f"x = {name}((x - x.mean()) / (x.std() + 1e-5))",
            f"x = {name}(torch.cat([x[:, 2:], x[:, :2]], dim=1))",
            f"x = {name}(x.roll(1, dims=2))",
            f"x = {name}(torch.exp(-x ** 2))",
            f"x = {name}(torch.einsum('nchw,cd->ndhw', x, torch.eye(4)))",
            f"x = {name}(x @ torch.eye(8))",
        )
    )
