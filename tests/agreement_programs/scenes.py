"""Whole programs with choices: several models, models with methods of their own, callbacks."""

from __future__ import annotations

EVAL = "[[MODEL.eval()||MODEL.eval()||MODEL.train(False)||]]"
TRAIN = "[[MODEL.train()||MODEL.train()||MODEL.train(True)||]]"
NO_GRAD = "[[with torch.no_grad():||with torch.inference_mode():||with torch.no_grad():]]"


def on(model: str, template: str) -> str:
    """A choice of mode for one of several models."""
    return template.replace("MODEL", model)


AVERAGED = f"""\
def blend(average, model, decay=0.9):
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), model.parameters()):
            mine.mul_(decay).add_(theirs, alpha=1 - decay)


model = $Net()
average = copy.deepcopy(model)
[[for p in average.parameters():
    p.requires_grad_(False)||average.requires_grad_(False)||]]
[[average.eval()||]]
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    {on("model", TRAIN)}
    for x, y in train_loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        blend(average, model)
    {on("average", EVAL)}
    {on("model", EVAL)}
    {NO_GRAD}
        for x, y in val_loader:
            print((average(x).argmax(1) == y).sum())
            [[print((model(x).argmax(1) == y).sum())||]]
"""
DISTILLED = f"""\
teacher = $Net()
teacher.load_state_dict(torch.load("net.pt"))
{on("teacher", EVAL)}
student = $Net()
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)


def evaluate(net):
    {on("net", EVAL)}
    right = 0
    {NO_GRAD}
        for x, y in val_loader:
            right += (net(x).argmax(1) == y).sum().item()
    return right


print([[evaluate(teacher)||0]])
for epoch in range(3):
    {on("student", TRAIN)}
    for x, y in train_loader:
        with torch.no_grad():
            target = teacher(x).softmax(1)
        out = student(x)
        loss = F.cross_entropy(out, y) + F.kl_div(out.log_softmax(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(evaluate(student))
"""
ENSEMBLE = f"""\
[[models = [$Net() for _ in range(3)]||models = [$Net(), $Net()] ]]
optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models]
for epoch in range(3):
    for model, optimizer in zip(models, optimizers):
        {on("model", TRAIN)}
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    [[for model in models:
    model.eval()||[m.eval() for m in models]||]]
    {NO_GRAD}
        for x, y in val_loader:
            [[out = torch.stack([m(x) for m in models]).mean(0)||out = sum(m(x) for m in models)]]
            print((out.argmax(1) == y).sum())
"""
NAMED = f"""\
nets = {{"first": $Net(), "second": $Net()}}
optimizers = {{name: torch.optim.SGD(net.parameters(), lr=0.1) for name, net in nets.items()}}
for epoch in range(3):
    [[for net in nets.values():
    net.train()||for name in nets:
    nets[name].train()||]]
    for x, y in train_loader:
        for name, net in nets.items():
            loss = F.cross_entropy(net(x), y)
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
    [[for net in nets.values():
    net.eval()||for name in ["first", "second"]:
    nets[name].eval()||nets["first"].eval()||]]
    {NO_GRAD}
        for x, y in val_loader:
            print((nets["first"](x).argmax(1) == y).sum())
            print((nets["second"](x).argmax(1) == y).sum())
"""
OWN_METHODS = f"""\
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = $Net()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def forward(self, x):
        return self.net(x)

    def fit(self, loader, epochs=3):
        for epoch in range(epochs):
            {on("self", TRAIN)}
            for x, y in loader:
                loss = F.cross_entropy(self(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            [[self.score(val_loader)||]]

    [[@torch.no_grad()||@torch.inference_mode()]]
    def score(self, loader):
        {on("self", EVAL)}
        return sum((self(x).argmax(1) == y).sum().item() for x, y in loader)


classifier = Classifier()
classifier.fit(train_loader)
print(classifier.score(val_loader))
"""
CLOSURE = f"""\
model = $Net()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
{on("model", TRAIN)}
for epoch in range(3):
    {on("model", TRAIN)}
    for x, y in train_loader:

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    {on("model", EVAL)}
    {NO_GRAD}
        print(sum((model(x).argmax(1) == y).sum() for x, y in val_loader))
"""
YIELDING = f"""\
def epochs(model, optimizer, count):
    for epoch in range(count):
        {on("model", TRAIN)}
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield epoch


def predictions(model, loader):
    {on("model", EVAL)}
    for x, y in loader:
        with torch.no_grad():
            yield model(x).argmax(1), y


model = $Net()
for epoch in epochs(model, torch.optim.SGD(model.parameters(), lr=0.1), 3):
    for guess, y in predictions(model, val_loader):
        print(epoch, (guess == y).sum())
"""
OPTIONS = f"""\
def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--resume", default="[[||net.pt]]")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--every", default=1, type=int)
    return [[parser.parse_args([])||parser.parse_args()]]


def validate(model, args):
    {on("model", EVAL)}
    {NO_GRAD}
        for x, y in val_loader:
            print((model(x).argmax(1) == y).sum())


def main(args):
    model = $Net()
    if args.resume:
        model.load_state_dict(torch.load(args.resume))
    if args.evaluate:
        model.eval()
        validate(model, args)
        return
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    {on("model", TRAIN)}
    for epoch in range(args.epochs):
        {on("model", TRAIN)}
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if [[epoch % args.every == 0||(epoch + 1) % args.every == 0 or epoch == args.epochs - 1]]:
            validate(model, args)
    torch.save(model.state_dict(), "last.pt")


if __name__ == "__main__":
    main(parse())
"""
HOOKED = f"""\
class Callback:
    def on_epoch_begin(self, model):
        pass

    def on_epoch_end(self, model):
        pass


class Validation(Callback):
    def __init__(self, loader):
        self.loader = loader

    def on_epoch_begin(self, model):
        {on("model", "[[model.train()||pass]]")}

    @torch.no_grad()
    def on_epoch_end(self, model):
        {on("model", EVAL)}
        for x, y in self.loader:
            print((model(x).argmax(1) == y).sum())


class Learner:
    def __init__(self, model, callbacks):
        self.model = model
        self.callbacks = callbacks
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def call(self, event):
        for callback in self.callbacks:
            getattr(callback, event)(self.model)

    def fit(self, loader, epochs):
        for epoch in range(epochs):
            [[self.call("on_epoch_begin")||for callback in self.callbacks:
    callback.on_epoch_begin(self.model)]]
            for x, y in loader:
                loss = F.cross_entropy(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            [[self.call("on_epoch_end")||for callback in self.callbacks:
    callback.on_epoch_end(self.model)]]


Learner($Net(), [Callback(), Validation(val_loader)]).fit(train_loader, 3)
"""
DECORATED = f"""\
def in_evaluation(function):
    @functools.wraps(function)
    def inner(model, *args, **kwargs):
        {on("model", EVAL)}
        with torch.no_grad():
            result = function(model, *args, **kwargs)
        {on("model", TRAIN)}
        return result

    return inner


@in_evaluation
def score(model, loader):
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


model = $Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    print(score(model, val_loader))
"""
FOLDS = f"""\
def fit(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    {on("model", TRAIN)}
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        [[score(model, loader)||]]
    return model


def score(model, loader):
    {on("model", EVAL)}
    {NO_GRAD}
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader)


scores = []
for fold in range(2):
    model = fit($Net(), train_loader)
    scores.append(score(model, val_loader))
print(sum(scores))
"""
DELEGATING = f"""\
class Wrapper:
    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)

    def parameters(self):
        return self.net.parameters()

    def train(self):
        self.net.train()

    def eval(self):
        self.net.eval()


model = Wrapper($Net())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    {on("model", "[[model.train()||model.train()||]]")}
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    {on("model", "[[model.eval()||model.eval()||]]")}
    {NO_GRAD}
        for x, y in val_loader:
            print((model(x).argmax(1) == y).sum())
"""
LOADED = f"""\
def load(path):
    model = $Net()
    model.load_state_dict(torch.load(path))
    [[model.eval()||model.train(False)||]]
    [[return model||return model.to("cpu")||return model.eval()||return model]]


class Predictor:
    def __init__(self, path):
        self.model = load(path)
        {on("self.model", "[[MODEL.eval()||||]]")}

    def __call__(self, x):
        {NO_GRAD}
            return self.model(x).argmax(1)


predictor = Predictor("net.pt")
for x, y in val_loader:
    print((predictor(x) == y).sum())
"""
PAIR = f"""\
encoder, head = $Net(), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)


def set_modes(training):
    for net in (encoder, head):
        [[net.train(training)||net.train() if training else net.eval()]]


def scores(x):
    return head(encoder(x))


for epoch in range(3):
    [[set_modes(True)||encoder.train()
head.train()||encoder.train()||]]
    for x, y in train_loader:
        loss = F.cross_entropy(scores(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    [[set_modes(False)||encoder.eval()
head.eval()||encoder.eval()||head.eval()||]]
    {NO_GRAD}
        for x, y in val_loader:
            print((scores(x).argmax(1) == y).sum())
"""
FROZEN = f"""\
class Tuned(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.2), nn.Linear(2, 2))

    def forward(self, x):
        return self.head(self.body(x))


body = $Net()
body.load_state_dict(torch.load("net.pt"))
[[for p in body.parameters():
    p.requires_grad = False||body.requires_grad_(False)||]]
model = Tuned(body)
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
for epoch in range(3):
    {on("model", TRAIN)}
    [[model.body.eval()||body.eval()||||for m in model.body.modules():
    if isinstance(m, nn.BatchNorm1d):
        m.eval()||]]
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    {on("model", EVAL)}
    {NO_GRAD}
        for x, y in val_loader:
            print((model(x).argmax(1) == y).sum())
"""
PARTIAL = f"""\
def validate(model, loader, name):
    was_training = model.training
    {on("model", EVAL)}
    {NO_GRAD}
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    [[model.train(was_training)||if was_training:
    model.train()||model.train()||]]
    return {{name: right}}


model = $Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
checks = [
    functools.partial(validate, loader=val_loader, name="valid"),
    [[functools.partial(validate, loader=train_loader, name="train")||lambda model: None]],
]
for epoch in range(3):
    [[model.train()||]]
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    for check in checks:
        print(check(model))
"""
BEST = f"""\
def evaluate(model, loader):
    {on("model", EVAL)}
    total = 0.0
    {NO_GRAD}
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total


model = $Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best, waited = float("inf"), 0
for epoch in range(1, 9):
    [[model.train()||]]
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    loss = evaluate(model, val_loader)
    if loss < best:
        best, waited = loss, 0
        torch.save(model.state_dict(), "best.pt")
    else:
        waited += 1
        if waited >= 2 and epoch > 3:
            break
[[model.load_state_dict(torch.load("best.pt"))||model = $Net()
model.load_state_dict(torch.load("best.pt"))||]]
print(evaluate(model, val_loader))
"""

EXPORTED = f"""\
def export(model, x, path):
    {on("model", "[[MODEL.eval()||MODEL.train(False)||]]")}
    [[with torch.no_grad():
    print(model(x).argmax(1))||print(model(x).argmax(1))||]]
    program = torch.jit.trace(model, [[x||(x,)]])
    [[program.save(path)||torch.jit.save(program, path)]]


model = $Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    {on("model", "[[MODEL.train()||]]")}
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    if epoch % 2 == 0:
        export(model, torch.load("valid.pt")["x"], f"net{{epoch}}.ts")
"""

SCENES = {
    "averaged": AVERAGED,
    "distilled": DISTILLED,
    "ensemble": ENSEMBLE,
    "named": NAMED,
    "own methods": OWN_METHODS,
    "closure": CLOSURE,
    "yielding": YIELDING,
    "options": OPTIONS,
    "hooked": HOOKED,
    "decorated": DECORATED,
    "folds": FOLDS,
    "delegating": DELEGATING,
    "loaded": LOADED,
    "pair": PAIR,
    "frozen": FROZEN,
    "partial": PARTIAL,
    "best": BEST,
    "exported": EXPORTED,
}
