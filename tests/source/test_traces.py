"""Small programs -> what the mode rules say of them."""

from __future__ import annotations

import pytest
from drawn import codes_of

NET = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x)).mean((2, 3))


"""
LOADED = "model = Net()\nmodel.load_state_dict(torch.load('a.pt'))\n"
TRAIN = """\
def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


"""
TEST = """\
def test(model, loader):
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum()  # !
    return right


"""
EVALUATED_TEST = TEST.replace("    right = 0\n", "    model.eval()\n    right = 0\n")
RUN = """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loader = torch.load("a.pt")
for epoch in range(9):
    train(model, loader, optimizer)
    print(test(model, loader))
"""
USE = "with torch.no_grad():\n    print(model(torch.load('b.pt')).argmax(1))"


def accused(text: str, code: str) -> list[str]:
    return [line for found, line in codes_of(NET + text) if found == code]


def marked(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.endswith("# !")]


WRONG = {
    "no_grad block": LOADED + USE + "  # !",
    "no_grad decorator": f"{LOADED}@torch.no_grad()\ndef run(x):\n"
    "    print(model(x).argmax(1))  # !\n"
    "run(torch.load('b.pt'))",
    "decorator without a call": f"{LOADED}@torch.no_grad\ndef run(x):\n"
    "    print(model(x).argmax(1))  # !\nrun(torch.load('b.pt'))",
    "inference_mode": LOADED + USE.replace("no_grad", "inference_mode") + "  # !",
    "set_grad_enabled as a block": LOADED
    + USE.replace("no_grad()", "set_grad_enabled(False)")
    + "  # !",
    "set_grad_enabled as a statement": f"{LOADED}torch.set_grad_enabled(False)\n"
    "print(model(torch.load('b.pt')).argmax(1))  # !",
    "loaded and never trained": f"{LOADED}print(model(torch.load('b.pt')).argmax(1))  # !",
    "test after train": TRAIN + TEST + RUN,
    "volatile, the no_grad of old": f"from torch.autograd import Variable\n{LOADED}"
    "x = Variable(torch.load('b.pt'), volatile=True)\nprint(model(x))  # !",
    "a tensor of numbers that were read": f"{LOADED}import numpy\n"
    "x = torch.FloatTensor(numpy.load('b.npy')).cuda()\n"
    "with torch.no_grad():\n    print(model(x).argmax(1))  # !",
    "a test loop that records gradients": TRAIN
    + TEST.replace("    with torch.no_grad():\n", "    if True:\n")
    + RUN,
    "eval before the loop only": TRAIN + TEST + RUN.replace("for epoch", "model.eval()\nfor epoch"),
    "another model is evaluated": f"{LOADED}other = Net()\nother.eval()\n{USE}  # !",
    "eval of a copy": f"{LOADED}copy.deepcopy(model).eval()\n{USE}  # !",
    "a copy made before eval": f"{LOADED}late = model\nmodel = copy.deepcopy(late)\nlate.eval()\n"
    f"{USE}  # !",
    "assignments only": "model = Net()\nscores = model(torch.load('b.pt'))  # !\n"
    "labels = scores.argmax(1)\n",
    "DataParallel": f"{LOADED}model = nn.DataParallel(model)\n{USE}  # !",
    "compiled": f"{LOADED}model = torch.compile(model)\n{USE}  # !",
    "self.model": """\
class Runner:
    def __init__(self):
        self.model = Net()
        self.model.load_state_dict(torch.load("a.pt"))

    def run(self, x):
        with torch.no_grad():
            return self.model(x).argmax(1)  # !


print(Runner().run(torch.load("b.pt")))
""",
    "a global": f"{LOADED}def run(x):\n    with torch.no_grad():\n"
    "        return model(x).argmax(1)  # !\nprint(run(torch.load('b.pt')))",
    "a closure": f"def make():\n    {LOADED.splitlines()[0]}\n    {LOADED.splitlines()[1]}\n"
    "    def run(x):\n        with torch.no_grad():\n            return model(x).argmax(1)  # !\n"
    "    return run\nprint(make()(torch.load('b.pt')))",
    "a list of models": "models = [Net(), Net()]\nfor model in models:\n"
    "    model.load_state_dict(torch.load('a.pt'))\nx = torch.load('b.pt')\n"
    "with torch.no_grad():\n    for model in models:\n        print(model(x).argmax(1))  # !",
    "made by a function": f"def build():\n    model = Net()\n    return model\nmodel = build()\n"
    f"{LOADED.splitlines()[1]}\n{USE}  # !",
    "in a main function": "def main():\n    model = Net()\n"
    "    model.load_state_dict(torch.load('a.pt'))\n    with torch.no_grad():\n"
    "        print(model(torch.load('b.pt')).argmax(1))  # !\n\n"
    "if __name__ == '__main__':\n    main()",
    "a phase loop without a mode": """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loaders = torch.load("a.pt")
for phase in ["train", "val"]:
    model.train()
    for x, y in loaders[phase]:
        with torch.set_grad_enabled(phase == "train"):
            out = model(x)  # !
            loss = F.cross_entropy(out, y)
            if phase == "train":
                loss.backward()
                optimizer.step()
        print((out.argmax(1) == y).sum())
""",
    "dropout behind a flag of p": "class Drop(nn.Module):\n    def __init__(self, p=0.5):\n"
    "        super().__init__()\n        self.f = nn.Linear(3, 3)\n        self.d = nn.Dropout(p)\n"
    "    def forward(self, x):\n        return self.d(self.f(x))\nmodel = Drop()\n"
    f"model.load_state_dict(torch.load('a.pt'))\n{USE}  # !",
    "evaluate() that goes back to train, used twice": TRAIN
    + "def score(model, x):\n    model.eval()\n    with torch.no_grad():\n"
    "        print(model(x).argmax(1))\n    model.train()\n"
    f"{LOADED}x = torch.load('b.pt')\nscore(model, x)\n"
    "with torch.no_grad():\n    print(model(x).argmax(1))  # !",
    "eval on one of the ways only, then train": f"{LOADED}if torch.cuda.is_available():\n"
    f"    model.cuda()\nelse:\n    model.cpu()\n{USE}  # !",
}

RIGHT = {
    "training mode right after evaluation mode": f"{LOADED}model.eval()\nmodel.train()\n{USE}",
    "eval": f"{LOADED}model.eval()\n{USE}",
    "eval in a chain": f"model = Net().cuda().eval()\n{USE}",
    "eval assigned": f"{LOADED}model = model.eval()\n{USE}",
    "eval under another name": f"{LOADED}c = model.eval()\n{USE}",
    "train(False)": f"{LOADED}model.train(False)\n{USE}",
    "train(mode=False)": f"{LOADED}model.train(mode=False)\n{USE}",
    "a flag that is not known": f"{LOADED}import sys\nmodel.train(len(sys.argv) > 1)\n{USE}",
    "eval as an argument": f"{LOADED}def run(m, x):\n    with torch.no_grad():\n"
    "        return m(x).argmax(1)\nprint(run(model.eval(), torch.load('b.pt')))",
    "eval in the caller": TRAIN + TEST + RUN.replace("    print", "    model.eval()\n    print"),
    "eval in the function": TRAIN + EVALUATED_TEST + RUN,
    "eval at module level, used in a function": f"{LOADED}model.eval()\ndef run(x):\n"
    "    with torch.no_grad():\n        return model(x).argmax(1)\nrun(torch.load('b.pt'))",
    "eval at module level below the function": "def run(x):\n    with torch.no_grad():\n"
    f"        return model(x).argmax(1)\n{LOADED}model.eval()\nrun(torch.load('b.pt'))",
    "a constructor that evaluates": """\
class Wrapper:
    def __init__(self, net):
        self.net = net
        self.net.eval()

    def run(self, x):
        with torch.no_grad():
            return self.net(x).argmax(1)


print(Wrapper(Net()).run(torch.load("b.pt")))
""",
    "a loader that evaluates": "def load_model():\n    model = Net()\n"
    "    model.load_state_dict(torch.load('a.pt'))\n    model.eval()\n    return model\n"
    f"model = load_model()\n{USE}",
    "a method of the module itself": "class Own(Net):\n    def predict(self, x):\n"
    "        self.eval()\n        with torch.no_grad():\n            return self(x).argmax(1)\n"
    "model = Own()\nmodel.load_state_dict(torch.load('a.pt'))\n"
    "print(model.predict(torch.load('b.pt')))",
    "DataParallel before eval": f"{LOADED}model = nn.DataParallel(model)\nmodel.eval()\n{USE}",
    "DataParallel after eval": f"{LOADED}model.eval()\nmodel = nn.DataParallel(model)\n{USE}",
    "eval of what DataParallel wraps": f"{LOADED}model = nn.DataParallel(model)\n"
    f"model.module.eval()\n{USE}",
    "DistributedDataParallel": f"{LOADED}from torch.nn.parallel import "
    f"DistributedDataParallel as DDP\nmodel = DDP(model, device_ids=[0])\nmodel.eval()\n{USE}",
    "compiled after eval": f"{LOADED}model.eval()\nmodel = torch.compile(model)\n{USE}",
    "compiled before eval": f"{LOADED}model = torch.compile(model)\nmodel.eval()\n{USE}",
    "a copy made after eval": f"{LOADED}model.eval()\nmodel = copy.deepcopy(model)\n{USE}",
    "a list of models, evaluated": "models = [Net(), Net()]\nfor model in models:\n"
    "    model.eval()\nx = torch.load('b.pt')\nwith torch.no_grad():\n    for model in models:\n"
    "        print(model(x).argmax(1))",
    "a comprehension of evaluated models": "models = [Net().eval() for _ in range(3)]\n"
    "x = torch.load('b.pt')\nwith torch.no_grad():\n    for model in models:\n"
    "        print(model(x).argmax(1))",
    "a dictionary of models, evaluated": "nets = {'a': Net(), 'b': Net()}\n"
    "for name in nets:\n    nets[name].eval()\nx = torch.load('b.pt')\n"
    "with torch.no_grad():\n    print(nets['a'](x).argmax(1))",
    "a phase loop": """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loaders = torch.load("a.pt")
for phase in ["train", "val"]:
    if phase == "train":
        model.train()
    else:
        model.eval()
    for x, y in loaders[phase]:
        with torch.set_grad_enabled(phase == "train"):
            out = model(x)
            loss = F.cross_entropy(out, y)
            if phase == "train":
                loss.backward()
                optimizer.step()
        print((out.argmax(1) == y).sum())
""",
    "train(phase == 'train')": """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loaders = torch.load("a.pt")
for epoch in range(9):
    for phase in ["train", "val"]:
        model.train(phase == "train")
        for x, y in loaders[phase]:
            with torch.set_grad_enabled(phase == "train"):
                out = model(x)
                loss = F.cross_entropy(out, y)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            print((out.argmax(1) == y).sum())
""",
    "a conditional expression as a statement": f"{LOADED}import sys\nc = len(sys.argv)\n"
    f"model.train() if c else model.eval()\n{USE}",
    "evaluate() that goes back to train": """\
def score(model, x):
    model.eval()
    with torch.no_grad():
        print(model(x).argmax(1))
    model.train()


model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for x, y in torch.load("a.pt"):
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    score(model, x)
""",
    "a restored flag": f"{LOADED}was = model.training\nmodel.eval()\n{USE}\nmodel.train(was)",
    "an EMA teacher": """\
student, teacher = Net(), Net()
optimizer = torch.optim.SGD(student.parameters(), 0.1)
for x, _ in torch.load("a.pt"):
    with torch.no_grad():
        target = teacher(x)
    loss = F.mse_loss(student(x), target)
    loss.backward()
    optimizer.step()
""",
    "pseudo-labels": """\
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for x, _ in torch.load("a.pt"):
    with torch.no_grad():
        label = model(x).argmax(1)
    loss = F.cross_entropy(model(x), label)
    loss.backward()
    optimizer.step()
""",
    "not volatile, and a number in the end": "from torch.autograd import Variable\n"
    "model = Net()\nx = Variable(torch.load('b.pt'), volatile=False)\nprint(model(x))",
    "images of a generator while it learns": """\
generator = Net()
optimizer = torch.optim.Adam(generator.parameters())
for x, y in torch.load("a.pt"):
    F.mse_loss(generator(x), y).backward()
    optimizer.step()
    if len(x) == 4:
        save_image(generator(x), "sample.png")
""",
    "a tensor of a size": "model = Net()\nx = torch.FloatTensor(1, 3, 8, 8)\n"
    "with torch.no_grad():\n    print(model(x).argmax(1))",
    "an agent acts while it learns": """\
policy = Net()
optimizer = torch.optim.SGD(policy.parameters(), 0.1)
state = torch.load("a.pt")
for _ in range(100):
    state = step(policy(state).argmax(1))
    loss = policy(state).mean()
    loss.backward()
    optimizer.step()
""",
    "statistics are estimated again": f"{LOADED}model.train()\nwith torch.no_grad():\n"
    "    for x in torch.load('b.pt'):\n        model(x)\nmodel.eval()\n" + USE,
    "sampling from a GAN in training": """\
generator, critic = Net(), Net()
first = torch.optim.Adam(generator.parameters())
second = torch.optim.Adam(critic.parameters())
for real in torch.load("a.pt"):
    fake = generator(torch.randn(8, 3, 8, 8))
    critic(fake.detach()).mean().backward()
    second.step()
    critic(fake).mean().backward()
    first.step()
    with torch.no_grad():
        torch.save(generator(torch.randn(8, 3, 8, 8)), "sample.pt")
""",
    "a smoke test": "model = Net()\nwith torch.no_grad():\n"
    "    print(model(torch.randn(2, 3, 8, 8)).shape)",
    "a unit test": "def test_net():\n    model = Net()\n    with torch.no_grad():\n"
    "        assert model(torch.randn(2, 3, 8, 8)).argmax(1).shape == (2,)",
    "a function that nobody calls": TEST,
    "a module's own method": "class Own(Net):\n    @torch.no_grad()\n    def predict(self, x):\n"
    "        return self(x).argmax(1)",
    "no layer knows a mode": "model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8))\n"
    f"model.load_state_dict(torch.load('a.pt'))\n{USE}",
    "dropout of zero": "model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0))\n"
    f"model.load_state_dict(torch.load('a.pt'))\n{USE}",
    "a whole model is loaded": f"model = torch.load('a.pt')\n{USE}",
    "a model of unknown make": f"from elsewhere import build\nmodel = build()\n{USE}",
    "an unknown function sees it": f"{LOADED}from elsewhere import prepare\nprepare(model)\n{USE}",
    "modules() with isinstance": f"{LOADED}for m in model.modules():\n"
    f"    if isinstance(m, nn.BatchNorm2d):\n        m.eval()\n{USE}",
    "apply": f"{LOADED}def freeze(m):\n    if isinstance(m, nn.BatchNorm2d):\n        m.eval()\n"
    f"model.apply(freeze)\n{USE}",
    "training = False": f"{LOADED}for m in model.modules():\n    m.training = False\n{USE}",
    "eval of the one layer": f"{LOADED}model.bn.eval()\n{USE}",
    "train() that keeps BatchNorm frozen": "class Frozen(Net):\n    def train(self, mode=True):\n"
    "        super().train(mode)\n        self.bn.eval()\n        return self\n"
    f"model = Frozen()\nmodel.load_state_dict(torch.load('a.pt'))\nmodel.train()\n{USE}",
    "eval on both ways": f"{LOADED}if torch.cuda.is_available():\n    model.cuda().eval()\n"
    f"else:\n    model.cpu().eval()\n{USE}",
    "eval in a try": f"{LOADED}try:\n    model.eval()\nfinally:\n    pass\n{USE}",
    "eval by getattr": f"{LOADED}getattr(model, 'eval')()\n{USE}",
    "a registry of names": """\
class Agent:
    def __init__(self):
        self._models = {"a": Net(), "b": Net()}

    def set_mode(self, mode):
        for name in self._models:
            if mode == "train":
                self._models[name].train()
            else:
                self._models[name].eval()

    def act(self, x):
        with torch.no_grad():
            return self._models["a"](x).argmax(1)


agent = Agent()
agent.set_mode("eval")
print(agent.act(torch.load("b.pt")))
""",
    "a size asked for in the constructor": """\
class Sized(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.stem, self.more = Net(), nn.BatchNorm1d(8)
        with torch.no_grad():
            self.fc = nn.Linear(self.features(torch.zeros(2, 3, size, size)).shape[1], 10)

    def features(self, x):
        return self.more(self.stem(x))


print(Sized(32))
""",
    "a loop over attributes": """\
class Agent:
    def __init__(self):
        self.actor, self.critic = Net(), Net()
        for net in (self.actor, self.critic):
            net.eval()

    @torch.no_grad()
    def act(self, x):
        return self.actor(x).argmax(1)


print(Agent().act(torch.load("b.pt")))
""",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_inference_in_training_mode_is_found(text: str) -> None:
    assert accused(text, "BNL101") == marked(text)


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_or_not_provable_is_silent(text: str) -> None:
    assert accused(text, "BNL101") == []


@pytest.mark.parametrize(
    ("build", "learned"),
    [
        ("Net()", False),
        ("torchvision.models.resnet18()", False),
        ("torchvision.models.resnet18(pretrained=False, weights=None)", False),
        ("torchvision.models.resnet18(pretrained=True)", True),
        ("torchvision.models.resnet18(True)", True),
        ("torchvision.models.resnet18(weights=unseen.WEIGHTS)", True),
        ("torchvision.models.get_model('resnet18', weights='DEFAULT')", True),
        ("torchvision.models.get_model('resnet18')", False),
        ("timm.create_model('resnet18', pretrained=True)", True),
        ("timm.create_model('resnet18')", False),
        ("torch.hub.load('pytorch/vision', 'resnet18')", True),
        (
            "nn.Sequential(*list(torchvision.models.resnet18(pretrained=True).children())[:-1])",
            True,
        ),
    ],
)
def test_a_number_from_a_network_with_random_weights_tells_nothing(
    build: str, learned: bool
) -> None:
    text = f"model = {build}\nprint(model(torch.load('b.pt')).sum().item())\n"
    imports = "import timm\nimport torchvision\n"
    assert bool(accused(imports + text, "BNL101")) is learned


def test_a_part_that_was_loaded_makes_the_whole_a_predictor() -> None:
    text = (
        "class Big(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.net = Net()\n        self.net.load_state_dict(torch.load('a.pt'))\n\n"
        "    def forward(self, x):\n        return self.net(x)\n\n\n"
        "model = Big()\nprint(model(torch.load('b.pt')).sum().item())\n"
    )
    assert accused(text, "BNL101")
