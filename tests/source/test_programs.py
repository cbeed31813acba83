"""Longer programs, as people write them -> the forwards that BNL101 accuses."""

from __future__ import annotations

import pytest
from test_traces import TRAIN, accused, marked

PROGRAMS = {
    "one model or a list of them": """\
model = Net()
model.load_state_dict(torch.load('a'))
models = model if isinstance(model, list) else [model]
for each in models:
    each.eval()
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))
""",
    "a Sequential with attributes": """\
class Body(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)
model = Body()
model.load_state_dict(torch.load('a'))
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))  # !
""",
    "a frozen teacher": """\
model = Net()
model.load_state_dict(torch.load('a'))
teacher = copy.deepcopy(model)
for p in teacher.parameters():
    p.requires_grad = False
opt = torch.optim.SGD(model.parameters(), 0.1)
for x, y in torch.load('a'):
    with torch.no_grad():
        t = teacher(x)
    F.mse_loss(model(x), t).backward()
    opt.step()
""",
    "a trainer class": """\
class Trainer:
    def __init__(self, model):
        self.model = model
        self.opt = torch.optim.SGD(model.parameters(), 0.1)
    def fit(self):
        for e in range(3):
            self.train_epoch()
            self.validate()
    def train_epoch(self):
        self.model.train()
        for x, y in torch.load('a'):
            F.cross_entropy(self.model(x), y).backward()
            self.opt.step()
    @torch.no_grad()
    def validate(self):
        for x, y in torch.load('b'):
            print((self.model(x).argmax(1) == y).sum())  # !
Trainer(Net()).fit()
""",
    "options and a main function": TRAIN
    + """\
import argparse
def main(args):
    model = Net()
    if args.resume:
        model.load_state_dict(torch.load(args.resume))
    if args.evaluate:
        validate(model)
        return
    opt = torch.optim.SGD(model.parameters(), 0.1)
    for e in range(args.epochs):
        train(model, torch.load('a'), opt)
        validate(model)
def validate(model):
    with torch.no_grad():
        for x, y in torch.load('b'):
            print((model(x).argmax(1) == y).sum())  # !
if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--resume', default='')
    p.add_argument('--evaluate', action='store_true')
    p.add_argument('--epochs', type=int, default=10)
    main(p.parse_args())
""",
    "a generator": """\
def predictions(model, loader):
    for x in loader:
        with torch.no_grad():
            yield model(x).argmax(1)  # !
model = Net()
model.load_state_dict(torch.load('a'))
for p in predictions(model, torch.load('b')):
    print(p)
""",
    "a loop that ends": """\
model = Net()
model.load_state_dict(torch.load('a'))
i = 0
while i < 3:
    i += 1
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))  # !
""",
    "a loop that is left": """\
model = Net()
model.load_state_dict(torch.load('a'))
while True:
    x = torch.load('b')
    if x is None:
        break
    with torch.no_grad():
        print(model(x).argmax(1))  # !
""",
    "a phase loop without eval": """\
model = Net()
opt = torch.optim.SGD(model.parameters(), 0.1)
loaders = {'train': torch.load('a'), 'val': torch.load('b')}
for epoch in range(9):
    for phase in ['train', 'val']:
        if phase == 'train':
            model.train()
        for x, y in loaders[phase]:
            opt.zero_grad()
            with torch.set_grad_enabled(phase == 'train'):
                out = model(x)  # !
                _, pred = torch.max(out, 1)
                loss = F.cross_entropy(out, y)
                if phase == 'train':
                    loss.backward()
                    opt.step()
""",
    "a property": """\
class Holder:
    def __init__(self):
        self._net = Net()
    @property
    def net(self):
        return self._net
h = Holder()
h.net.load_state_dict(torch.load('a'))
with torch.no_grad():
    print(h.net(torch.load('b')).argmax(1))  # !
""",
    "eval through a property": """\
class Holder:
    def __init__(self):
        self._net = Net()
    @property
    def net(self):
        return self._net
h = Holder()
h.net.eval()
with torch.no_grad():
    print(h.net(torch.load('b')).argmax(1))
""",
    "keyword arguments": """\
def predict(net, image, device='cpu'):
    net.eval()
    with torch.no_grad():
        return net(image.to(device)).argmax(1)
model = Net()
print(predict(net=model, image=torch.load('b')))
""",
    "a context manager of the project": """\
from contextlib import contextmanager
@contextmanager
def evaluating(net):
    was = net.training
    net.eval()
    try:
        yield net
    finally:
        net.train(was)
model = Net()
model.load_state_dict(torch.load('a'))
with evaluating(model), torch.no_grad():
    print(model(torch.load('b')).argmax(1))
""",
    "a decorator that evaluates": """\
def evaluated(f):
    def inner(model, *a):
        model.eval()
        return f(model, *a)
    return inner
@evaluated
def run(model, x):
    with torch.no_grad():
        return model(x).argmax(1)
model = Net()
print(run(model, torch.load('b')))
""",
    "train() that never trains": """\
class T(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.eval()
    def train(self, mode=True):
        return super().train(False)
    def forward(self, x):
        return self.net(x)
m = T()
m.train()
with torch.no_grad():
    print(m(torch.load('b')).argmax(1))
""",
    "eval by map": """\
models = [Net() for _ in range(3)]
list(map(lambda m: m.eval(), models))
with torch.no_grad():
    print(models[0](torch.load('b')).argmax(1))
""",
    "eval in a comprehension": """\
models = [Net() for _ in range(3)]
[m.eval() for m in models]
with torch.no_grad():
    print(models[0](torch.load('b')).argmax(1))
""",
    "a loader with an early return": """\
def load(path=None):
    m = Net()
    if path is None:
        return m
    m.load_state_dict(torch.load(path))
    return m.eval()
m = load('a')
with torch.no_grad():
    print(m(torch.load('b')).argmax(1))
""",
    "continue before eval": """\
model = Net()
opt = torch.optim.SGD(model.parameters(), 0.1)
for e in range(10):
    model.train()
    for x, y in torch.load('a'):
        F.cross_entropy(model(x), y).backward()
        opt.step()
    if e % 5 != 0:
        continue
    model.eval()
    with torch.no_grad():
        print(model(torch.load('b')).argmax(1))
""",
    "a new model under the same name": """\
model = Net()
model.eval()
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))
model = Net()
model.load_state_dict(torch.load('a'))
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))  # !
""",
    "a dictionary of models": """\
nets = {'a': Net(), 'b': Net()}
for n in nets.values():
    n.load_state_dict(torch.load('a'))
with torch.no_grad():
    print(nets['a'](torch.load('b')).argmax(1))  # !
""",
    "eval of one half": """\
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Net(), Net()
    def forward(self, x):
        return self.b(self.a(x))
m = Two()
m.load_state_dict(torch.load('a'))
m.a.eval()
with torch.no_grad():
    print(m(torch.load('b')).argmax(1))  # !
""",
    "a method's decorator that evaluates": """\
import functools
def evaluated(f):
    @functools.wraps(f)
    def inner(self, *args, **kwargs):
        was = self.net.training
        self.net.eval()
        out = f(self, *args, **kwargs)
        self.net.train(was)
        return out
    return inner
class R:
    def __init__(self):
        self.net = Net()
        self.net.load_state_dict(torch.load('a'))
    @evaluated
    @torch.no_grad()
    def run(self, x):
        return self.net(x).argmax(1)
print(R().run(torch.load('b')))
""",
    "a decorator that only measures": """\
import time
def timed(label):
    def wrap(f):
        def inner(*args, **kwargs):
            start = time.time()
            result = f(*args, **kwargs)
            print(label, time.time() - start)
            return result
        return inner
    return wrap
@timed('run')
def run(model, x):
    with torch.no_grad():
        return model(x).argmax(1)  # !
model = Net()
model.load_state_dict(torch.load('a'))
print(run(model, torch.load('b')))
""",
    "a registry by decorator": """\
REG = {}
def register(f):
    REG[f.__name__] = f
    return f
@register
def build():
    return Net()
model = REG['build']()
model.load_state_dict(torch.load('a'))
with torch.no_grad():
    print(model(torch.load('b')).argmax(1))  # !
""",
    "a function within a method, about an object that holds models": """\
class Engine:
    def __init__(self):
        self.nets = {}
        self.register('net', Net())
    def register(self, name, model):
        self.nets[name] = model
    def features_of(self, x):
        return self.nets['net'](x)  # !
    @torch.no_grad()
    def test(self, batches):
        def extract(given):
            found, places, names = [], [], []
            for index, data in enumerate(given):
                features = self.features_of(data[0])
                features = features.cpu()
                found.append(features)
                places.extend(str(data[1]).split())
                names.append(str(index).strip())
            return found, places, names
        found, places, names = extract(batches)
        print(found[0].argmax(1))
engine = Engine()
engine.nets['net'].load_state_dict(torch.load('a'))
engine.test(torch.load('b'))
""",
    "a route that only calls others": """from flask import Flask, jsonify, request
app = Flask(__name__)
model = Net()
model.load_state_dict(torch.load('a'))
def prediction(given):
    try:
        outputs = torch.softmax(model.forward(torch.load(given)), dim=0)  # !
        return {'result': outputs.detach().cpu().numpy()}
    except Exception as problem:
        return {'result': [str(problem)]}
@app.route('/predict', methods=['POST'])
@torch.no_grad()
def predict():
    image = request.files['file']
    return jsonify(prediction(image.read()))
""",
    "a decorator of main()": """\
def main_process(f):
    def inner(*a, **k):
        if torch.distributed.get_rank() == 0:
            return f(*a, **k)
    return inner
@main_process
def main():
    model = Net()
    model.load_state_dict(torch.load('a'))
    with torch.no_grad():
        print(model(torch.load('b')).argmax(1))  # !
if __name__ == '__main__':
    main()
""",
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_what_is_accused(text: str) -> None:
    assert accused(text, "BNL101") == marked(text)


def test_an_optimizer_in_a_model_belongs_to_the_model_that_is_built() -> None:
    """Two models of one class: the second is no copy that trains the first."""
    text = """\
class Owner(nn.Module):
    def __init__(self, rate, **more):
        super().__init__()
        self.net = Net()
        self.optimizer = torch.optim.Adam(self.parameters(), lr=rate)
    def fit(self, loader):
        for x, y in loader:
            loss = F.mse_loss(self.net.forward(x), y)  # !
            loss.backward()
            self.optimizer.step()
    def validate(self, loader):
        self.eval()
        with torch.no_grad():
            for x, y in loader:
                print(self.net(x).argmax(1))
options = parse()
loader = torch.load('b')
if options.test:
    owner = Owner(**vars(options))
    owner.validate(loader)
    quit()
if options.start:
    owner = Owner(**vars(options))
else:
    owner = Owner(**vars(options))
while True:
    owner.fit(loader)
    owner.validate(loader)
"""
    assert accused(text, "BNL103") == marked(text)
