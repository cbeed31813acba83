"""Programs that are right, in the forms that look nearly wrong: neither half may say anything."""

from __future__ import annotations

NO_GRAD = "[[with torch.no_grad():||with torch.inference_mode():]]"

SMOKE_TEST = """\
def test_shapes():
    net = $Net()
    [[x = torch.randn(2, 4)||x = torch.zeros(8, 4)||x = torch.rand(3, 4)]]
    with torch.[[no_grad||inference_mode||enable_grad]]():
        y = net(x)
    [[print(y.shape)||assert y.shape[1] == 2||print(tuple(y.size()))]]


[[test_shapes()||if __name__ == "__main__":
    test_shapes()]]
"""
GAN_SAMPLES = """\
class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 16)
        self.bn = nn.BatchNorm2d(4)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, z):
        return torch.tanh(self.out(F.relu(self.bn(self.fc(z).view(-1, 4, 2, 2)))))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def forward(self, x):
        return self.net(x)


G, D = Generator(), Discriminator()
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3)
opt_d = torch.optim.Adam(D.parameters(), lr=1e-3)
fixed_noise = torch.randn(8, 4)
for epoch in range(3):
    for x, _ in train_loader:
        real = x.view(-1, 1, 2, 2)
        z = torch.randn(len(x), 4)
        opt_d.zero_grad()
        [[fake = G(z).detach()||with torch.no_grad():
    fake = G(z)]]
        (F.softplus(-D(real)) + F.softplus(D(fake.clone()))).mean().backward()
        opt_d.step()
        opt_g.zero_grad()
        F.softplus(-D(G(z))).mean().backward()
        opt_g.step()
    with torch.no_grad():
        samples = G(fixed_noise)
    torch.save(samples, f"samples{epoch}.pt")
"""
PSEUDO_LABELS = f"""\
model = $Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    model.train()
    for (x, y), (u, _) in zip(train_loader, val_loader):
        [[with torch.no_grad():
    guess = model(u).softmax(1)
    sure = guess.max(1)||with torch.no_grad():
    guess = F.softmax(model(u), dim=1)]]
        loss = F.cross_entropy(model(x), y)
        loss = loss + F.mse_loss(model(u + 0.1 * torch.randn_like(u)).softmax(1), guess)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    {NO_GRAD}
        print(sum((model(x).argmax(1) == y).sum() for x, y in val_loader))
"""
MEAN_TEACHER = f"""\
student = $Net()
teacher = copy.deepcopy(student)
for p in teacher.parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
for epoch in range(3):
    student.train()
    for x, y in train_loader:
        with torch.no_grad():
            target = teacher(x)
        out = student(x)
        loss = F.cross_entropy(out, y) + F.mse_loss(out, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(teacher.parameters(), student.parameters()):
                mine.mul_(0.9).add_(theirs, alpha=0.1)
    student.eval()
    {NO_GRAD}
        print(sum((student(x).argmax(1) == y).sum() for x, y in val_loader))
"""
MONTE_CARLO = f"""\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.drop, self.fc2 = nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(self.drop(F.relu(self.bn(self.fc1(x)))))


def enable_dropout(model):
    for module in model.modules():
        [[if isinstance(module, nn.Dropout):
    module.train()||if module.__class__.__name__.startswith("Dropout"):
    module.train()]]


model = Net()
torch.save(model.state_dict(), "own.pt")
model.load_state_dict(torch.load("own.pt"))
model.eval()
enable_dropout(model)
{NO_GRAD}
    for x, y in val_loader:
        votes = torch.stack([model(x).softmax(1) for _ in range(4)])
        print(votes.mean(0).argmax(1), votes.std(0))
"""
RECALIBRATED = f"""\
def recalibrate(model, loader):
    [[for module in model.modules():
    if isinstance(module, nn.BatchNorm1d):
        module.reset_running_stats()||]]
    model.train()
    {NO_GRAD}
        for x, _ in loader:
            [[model(x)||_ = model(x)]]
    [[model.eval()||]]


model = $Net()
torch.save(model.state_dict(), "own.pt")
model.load_state_dict(torch.load("own.pt"))
recalibrate(model, train_loader)
model.eval()
{NO_GRAD}
    print(sum((model(x).argmax(1) == y).sum() for x, y in val_loader))
"""
CALLERS_DUTY = """\
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = $Net()

    def forward(self, x):
        return self.net(x)

    [[@torch.no_grad()||@torch.inference_mode()]]
    def [[predict||inference||get_embedding||sample]](self, x):
        return self.net(x).argmax(1)

    def loss(self, x, y):
        return F.cross_entropy(self(x), y)


model = Classifier()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        model.loss(x, y).backward()
        optimizer.step()
"""
INNER_LOOP = """\
model = $Net()
meta = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    meta.zero_grad()
    for x, y in train_loader:
        fast = copy.deepcopy(model)
        inner = torch.optim.SGD(fast.parameters(), lr=0.01)
        for _ in range(2):
            inner.zero_grad()
            F.cross_entropy(fast(x), y).backward()
            inner.step()
        F.cross_entropy(fast(x), y).backward()
        for mine, theirs in zip(model.parameters(), fast.parameters()):
            mine.grad = theirs.grad.clone() if theirs.grad is not None else None
    meta.step()
"""
RESTORED = """\
@contextlib.contextmanager
def evaluating(*models):
    was = [m.training for m in models]
    for m in models:
        m.eval()
    try:
        yield
    finally:
        for m, mode in zip(models, was):
            m.train(mode)


def score(model):
    with evaluating(model), torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)


model = $Net()
model.train()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if i % 2 == 1:
            print(score(model))
"""
FROZEN = f"""\
class Tuned(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))

    def forward(self, x):
        return self.head(self.body(x))

    def train(self, mode=True):
        super().train(mode)
        [[self.body.eval()||for m in self.body.modules():
    if isinstance(m, (nn.BatchNorm1d, nn.Dropout)):
        m.eval()]]
        return self


model = Tuned($Net())
for p in model.body.parameters():
    p.requires_grad = False
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    {NO_GRAD}
        print(sum((model(x).argmax(1) == y).sum() for x, y in val_loader))
"""
ATTACKED = f"""\
model = $Net()
torch.save(model.state_dict(), "own.pt")
model.load_state_dict(torch.load("own.pt"))
model.eval()
for x, y in val_loader:
    x = x.clone().requires_grad_(True)
    F.cross_entropy(model(x), y).backward()
    moved = x + 0.1 * x.grad.sign()
    {NO_GRAD}
        print((model(moved).argmax(1) == y).sum())
"""
UNIT_TEST = """\
import unittest


class TestNet(unittest.TestCase):
    def test_forward(self):
        net = $Net()
        data = torch.load("valid.pt")
        with torch.no_grad():
            out = net(data["x"])
        self.assertEqual(out.argmax(1).shape, data["y"].shape)


if __name__ == "__main__":
    [[unittest.main(argv=["x"], exit=False)||TestNet("test_forward").test_forward()]]
"""
RIGHT = {
    "samples of a GAN": GAN_SAMPLES,
    "pseudo-labels": PSEUDO_LABELS,
    "mean teacher": MEAN_TEACHER,
    "Monte Carlo dropout": MONTE_CARLO,
    "recalibrated statistics": RECALIBRATED,
    "the caller's duty": CALLERS_DUTY,
    "an inner loop": INNER_LOOP,
    "restored modes": RESTORED,
    "frozen layers": FROZEN,
    "gradients of the input": ATTACKED,
}
UNWATCHED = {"smoke test": SMOKE_TEST, "unit test": UNIT_TEST}
"""Right by what the text says, which nobody would run under a watch."""
