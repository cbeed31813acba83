"""The routines of a program: a training epoch, a validation, and loops that combine them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from idioms_of_mode import CONTEXTS, DECORATORS, RESTORING, Idioms
from styles import Routine

TRAIN_AT = ("epoch", "epoch", "epoch", "loop", "loop", "once", "once", "batch", "never")
"""Where training mode is set: in the training routine, in the loop around it, before that loop."""
EVAL_AT = (
    *("start",) * 5,
    *("inside",) * 2,
    *("restoring",) * 2,
    *("never",) * 3,
    "batch",
    "loop",
    "after",
    "wrong",
    "part",
)
"""Where evaluation mode is set; "after" the forward, or by mistake `train()` ("wrong")."""
RESTORE = ("no", "no", "no", "train", "train", "was")


@dataclass
class Routines:
    """Writes routines; every choice is its own, so that right and wrong programs come about."""

    random: Random
    idioms: Idioms
    part: str

    def __post_init__(self) -> None:
        self.train_at = self.random.choice(TRAIN_AT)
        self.eval_at = self.random.choice(EVAL_AT)
        self.restore = self.random.choice(RESTORE)
        if self.eval_at == "after":  # not `eval()` and `train()` in a row: that reads as meant
            self.restore = "no"
            self.train_at = "once" if self.train_at == "loop" else self.train_at

    def chance(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    # --- one epoch ---------------------------------------------------------------------------

    def step(self, form: str = "") -> list[str]:
        """Lines of one training step on (x, y)."""
        loss = self.random.choice(
            (
                ["out = <model>(x)", "loss = F.cross_entropy(out, y)"],
                ["loss = F.cross_entropy(<model>(x), y)"],
                ["scores = <model>(x.float())", "loss = nn.CrossEntropyLoss()(scores, y)"],
                [
                    "<optimizer>.zero_grad()",
                    "output = <model>(x)",
                    "loss = F.cross_entropy(output, y)",
                ],
            )
        )
        zero = [] if "zero_grad" in loss[0] else ["<optimizer>.zero_grad()"]
        return [*loss, *zero, "loss.backward()", "<optimizer>.step()"]

    def batches(self, loader: str, lines: list[str]) -> list[str]:
        """A loop over the batches of a loader."""
        head = self.random.choice(
            (
                [f"for x, y in <{loader}>:"],
                [f"for x, y in <{loader}>:"],
                [f"for i, (x, y) in enumerate(<{loader}>):"],
                [f"for batch in <{loader}>:", "    x, y = batch"],
                [f"for i, batch in enumerate(<{loader}>, 1):", "    x, y = batch[0], batch[1]"],
            )
        )
        return [*head, *nested(lines)]

    def train_epoch(self) -> Routine:
        """One pass over the training data."""
        step = self.step()
        if self.train_at == "batch":
            step = [*self.idioms.train(), *step]
        lines = self.batches("train_loader", step)
        if self.train_at == "epoch":
            lines = [*self.idioms.train(), *lines]
        if self.chance(0.3):
            lines = [lines[0], *lines[1:]]
        return Routine("train_epoch", lines)

    def validate(self) -> Routine:
        """One pass over the validation data."""
        inner = self.random.choice(
            (
                ["out = <model>(x)", "correct += (out.argmax(1) == y).sum().item()"],
                ["correct += (<model>(x).argmax(dim=1) == y).float().sum().item()"],
                ["prediction = <model>(x).max(1)[1]", "correct += prediction.eq(y).sum().item()"],
                ["out = <model>(x)", "loss = F.cross_entropy(out, y)", "correct += loss.item()"],
            )
        )
        context, decorated = self.random.choice(CONTEXTS), self.chance(0.3)
        at = self.eval_at
        if at == "batch":
            inner = [*self.idioms.evaluate(), *inner]
        if self.chance(0.12) and not decorated:  # the context around each forward
            lines = self.batches("val_loader", [context, *nested(inner)])
        else:
            lines = self.batches("val_loader", inner)
            if not decorated:
                head = self.idioms.evaluate() if at == "inside" else []
                lines = [context, *nested([*head, *lines])]
        if at == "start" or (at == "inside" and decorated):
            lines = [*self.idioms.evaluate(), *lines]
        if at == "wrong":
            lines = ["<model>.train()", *lines]
        if at == "after":
            lines = [*lines, *self.idioms.evaluate()]
        if at == "part":
            name = f"<model>.{self.part}" if self.part else "<model>"
            lines = [f"{name}.eval()", *lines]
        if at == "restoring":
            lines = [self.idioms.pick(*RESTORING), *nested(lines)]
        lines = ["correct = 0", *lines]
        if self.restore == "train":
            lines = [*lines, *self.idioms.train()]
        if self.restore == "was":
            lines = ["was = <model>.training", *lines, "<model>.train(was)"]
        return Routine(
            "validate",
            lines,
            self.random.choice(("correct", "correct / 12", "")),
            decorators=(self.random.choice(DECORATORS),) if decorated else (),
            around="with torch.no_grad():" if decorated else "",
        )

    # --- loops -------------------------------------------------------------------------------

    def checked(self, validate: Routine) -> list[str]:
        """The lines that validate, in a loop over epochs."""
        call = "<<validate>>"
        if validate.result and self.chance(0.7):
            call = f"score = {call}"
        before = self.idioms.evaluate() if self.eval_at == "loop" else []
        after = ["print(score)"] if call.startswith("score") else []
        return [*before, call, *after]

    def begin(self) -> list[str]:
        """The lines before the loop over epochs."""
        return self.idioms.train() if self.train_at == "once" else []

    def fit(self) -> list[Routine]:
        """The whole training: a loop and all that it calls."""
        loop: Callable[[], list[Routine]] = self.random.choice(LOOPS).__get__(self)
        return loop()

    def epochs(self) -> list[Routine]:
        """for epoch in range(3): train, then validate."""
        train, validate = self.train_epoch(), self.validate()
        head = self.idioms.train() if self.train_at == "loop" else []
        count = self.random.choice(("range(3)", "range(1, 4)", "range(0, 3)", "range(4)"))
        body = [*head, "<<train_epoch>>", *self.checked(validate)]
        form = self.random.randrange(8)
        if form == 0:  # the validation comes first
            body = [*self.checked(validate), *head, "<<train_epoch>>"]
        elif form == 1:
            body = [*head, "<<train_epoch>>", "if epoch % 1 == 0:", *nested(self.checked(validate))]
        elif form == 2:
            body = [
                *head,
                "<<train_epoch>>",
                "if epoch < 0:",
                "    continue",
                *self.checked(validate),
            ]
        elif form == 3 and validate.result:
            body += ["if best is None or score > best:", "    best = score"]
            checked = [
                line.replace("<<validate>>", "score = <<validate>>") for line in ["<<validate>>"]
            ]
            before = self.idioms.evaluate() if self.eval_at == "loop" else []
            body = [*head, "<<train_epoch>>", *before, *checked, *body[-2:]]
            return [
                train,
                validate,
                Routine(
                    "fit", [*self.begin(), "best = None", f"for epoch in {count}:", *nested(body)]
                ),
            ]
        elif form == 4:
            body = ["try:", *nested(body), "except KeyboardInterrupt:", "    break"]
        lines = [*self.begin(), f"for epoch in {count}:", *nested(body)]
        return [train, validate, Routine("fit", lines)]

    def steps(self) -> list[Routine]:
        """while step < 8: one batch, with a validation now and then."""
        validate = self.validate()
        body = [*self.step(), "step += 1"]
        if self.train_at in ("batch", "epoch"):
            body = [*self.idioms.train(), *body]
        every = self.random.choice(
            ("if step % 2 == 0:", "if (step + 1) % 2 == 0:", "if not step % 3:")
        )
        again = self.idioms.train() if self.train_at == "loop" else []
        body += [every, *nested([*self.checked(validate), *again])]
        if self.chance():
            loop = ["while step < 8:", "    for x, y in <train_loader>:", *nested(nested(body))]
            if self.chance():
                loop += ["        if step >= 8:", "            break"]
        else:
            loop = ["while True:", "    x, y = next(batches)", *nested(body)]
            loop += ["    if step >= 8:", "        break"]
            loop = ["batches = iter(list(<train_loader>) * 3)", *loop]
        return [validate, Routine("fit", [*self.begin(), "step = 0", *loop])]

    def middle(self) -> list[Routine]:
        """A validation in the middle of an epoch."""
        validate = self.validate()
        step = self.step()
        if self.train_at == "batch":
            step = [*self.idioms.train(), *step]
        again = self.idioms.train() if self.train_at == "loop" else []
        check = ["if i % 2 == 1:", *nested([*self.checked(validate), *again])]
        inner = ["for i, (x, y) in enumerate(<train_loader>):", *nested([*step, *check])]
        head = self.idioms.train() if self.train_at == "epoch" else []
        lines = [*self.begin(), "for epoch in range(3):", *nested([*head, *inner])]
        return [validate, Routine("fit", lines)]

    def phases(self) -> list[Routine]:
        """for phase in ["train", "val"]."""
        mode = self.random.choice(
            (
                ['if phase == "train":', "    <model>.train()", "else:", "    <model>.eval()"],
                ['<model>.train(phase == "train")'],
                ['<model>.train() if phase == "train" else <model>.eval()'],
                [
                    'if phase == "train":',
                    "    <model>.train(True)",
                    "else:",
                    "    <model>.train(False)",
                ],
                ['if phase == "val":', "    <model>.eval()"],
                ['is_train = phase == "train"', "<model>.train(is_train)"],
                ["<model>.train()"],
                [],
            )
        )
        train = self.random.choice(
            ('phase == "train"', 'phase == "train"', 'phase != "val"', 'phase in ("train",)')
        )
        step = ["<optimizer>.zero_grad()", "loss.backward()", "<optimizer>.step()"]
        inner = [
            f"with torch.set_grad_enabled({train}):",
            "    out = <model>(x)",
            "    loss = F.cross_entropy(out, y)",
            f"    if {train}:",
            *nested(nested(step)),
            "    correct += (out.argmax(1) == y).sum().item()",
        ]
        if self.chance():
            loop = ["for x, y in loaders[phase]:", *nested(inner)]
        else:
            loop = [f"loader = <train_loader> if {train} else <val_loader>", "for x, y in loader:"]
            loop += nested(inner)
        body = [*mode, "correct = 0", *loop]
        pair = self.random.choice(('["train", "val"]', '("train", "val")'))
        lines = [
            'loaders = {"train": <train_loader>, "val": <val_loader>}',
            "for epoch in range(3):",
            f"    for phase in {pair}:",
            *nested(nested(body)),
        ]
        return [Routine("fit", lines)]

    def one_for_both(self) -> list[Routine]:
        """One routine that trains or validates, by a flag."""
        mode = self.random.choice(
            (
                ["<model>.train(training)"],
                ["if training:", "    <model>.train()", "else:", "    <model>.eval()"],
                ["(<model>.train if training else <model>.eval)()"],
                ["if not training:", "    <model>.eval()"],
                [],
            )
        )
        gradients = self.random.choice(
            (
                "with torch.set_grad_enabled(training):",
                "with torch.set_grad_enabled(bool(training)):",
            )
        )
        step = ["<optimizer>.zero_grad()", "loss.backward()", "<optimizer>.step()"]
        inner = [
            "loss = F.cross_entropy(<model>(x), y)",
            "if training:",
            *nested(step),
            "total += loss.item()",
        ]
        lines = [
            *mode,
            "total = 0.0",
            "loader = <train_loader> if training else <val_loader>",
            gradients,
            *nested(["for x, y in loader:", *nested(inner)]),
        ]
        epoch = Routine("run_epoch", lines, "total", parameters=("training",))
        again = self.idioms.train() if self.train_at in ("loop", "epoch") else []
        loop = [*again, "loss = <<run_epoch(True)>>", "value = <<run_epoch(False)>>"]
        return [epoch, Routine("fit", [*self.begin(), "for epoch in range(3):", *nested(loop)])]

    def shared_step(self) -> list[Routine]:
        """The loss of a batch has a routine, which training and validation share."""
        form = ["out = <model>(x)", "loss = F.cross_entropy(out, y)"]
        loss = Routine("compute_loss", form, "loss", parameters=("x", "y"))
        step = ["loss = <<compute_loss(x, y)>>", "<optimizer>.zero_grad()", "loss.backward()"]
        step += ["<optimizer>.step()"]
        head = self.idioms.train() if self.train_at == "epoch" else []
        train = Routine("train_epoch", [*head, *self.batches("train_loader", step)])
        inner = self.batches(
            "val_loader", ["loss = <<compute_loss(x, y)>>", "total += loss.item()"]
        )
        before = self.idioms.evaluate() if self.eval_at in ("start", "inside", "restoring") else []
        after = self.idioms.train() if self.restore == "train" else []
        lines = [*before, "total = 0.0", self.random.choice(CONTEXTS), *nested(inner), *after]
        validate = Routine("validate", lines, "total")
        again = self.idioms.train() if self.train_at == "loop" else []
        body = [*again, "<<train_epoch>>", *self.checked(validate)]
        fit = Routine("fit", [*self.begin(), "for epoch in range(3):", *nested(body)])
        return [loss, train, validate, fit]

    def last_only(self) -> list[Routine]:
        """A validation behind the loop only, or in its last round."""
        train, validate = self.train_epoch(), self.validate()
        head = self.idioms.train() if self.train_at == "loop" else []
        if self.chance():
            body = [*head, "<<train_epoch>>"]
            after = self.checked(validate)
        else:
            test = self.random.choice(
                ("if epoch == 2:", "if epoch == 3 - 1:", "if epoch + 1 == 3:")
            )
            body = [*head, "<<train_epoch>>", test, *nested(self.checked(validate))]
            after = []
        lines = [*self.begin(), "for epoch in range(3):", *nested(body), *after]
        return [train, validate, Routine("fit", lines)]

    def callbacks(self) -> list[Routine]:
        """The validation is one of the callbacks."""
        train, validate = self.train_epoch(), self.validate()
        validate.result = validate.result or "correct"
        head = self.idioms.train() if self.train_at == "loop" else []
        before = self.idioms.evaluate() if self.eval_at == "loop" else []
        check = Routine(
            "on_epoch_end", [*before, "print(epoch, <<validate>>)"], parameters=("epoch",)
        )
        body = [*head, "<<train_epoch>>", "<<on_epoch_end(epoch)>>"]
        fit = Routine("fit", [*self.begin(), "for epoch in range(3):", *nested(body)])
        return [train, validate, check, fit]


LOOPS = (
    Routines.epochs,
    Routines.epochs,
    Routines.epochs,
    Routines.steps,
    Routines.middle,
    Routines.phases,
    Routines.phases,
    Routines.one_for_both,
    Routines.shared_step,
    Routines.last_only,
    Routines.callbacks,
)


def nested(lines: list[str]) -> list[str]:
    """The lines as the body of a statement."""
    return [f"    {part}" for line in lines for part in line.split("\n")]
