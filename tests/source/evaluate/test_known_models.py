"""Constructors of torchvision, timm and segmentation_models_pytorch, under all their names."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import bnlint
from bnlint.source.evaluate.known_models import shown_path, table

HEAD = """\
import argparse
import timm
import torch
import torchvision
import segmentation_models_pytorch as smp
from timm import create_model as create
from timm.models import create_model
from timm.models.resnet import resnet50 as timm_resnet50
from torch import nn
from torchvision import models
from torchvision.models import resnet18 as net18
from torchvision.models.resnet import resnet34

parser = argparse.ArgumentParser()
parser.add_argument("--arch", default="resnet18")
parser.add_argument("--other")
args = parser.parse_args()
"""
USE = """
model.load_state_dict(torch.load("model.pt"))
with torch.no_grad():
    print(model(torch.load("images.pt")).argmax(1))
"""


def layers_in_training_mode(code: str) -> str:
    """What the finding says of the layer that matters; "" without a finding."""
    result = bnlint.lint_source(HEAD + code + USE, "predict.py")
    messages = [f.message for f in result.findings if f.code == "BNL101"]
    return messages[0].partition("in training mode: ")[2] if messages else ""


NORM = "BatchNorm2d 'bn1'"
DECODER = "BatchNorm2d 'decoder.blocks.0.conv1.1'"


@pytest.mark.parametrize(
    ("constructor", "said"),
    [
        ("models.resnet18()", NORM),
        ("models.resnet18(pretrained=True)", NORM),
        ("models.resnet18(weights=models.ResNet18_Weights.DEFAULT, norm_layer=None)", NORM),
        ("models.resnet18(norm_layer=nn.BatchNorm2d)", NORM),
        ("models.resnet18(norm_layer=nn.InstanceNorm2d)", ""),
        ("models.resnet18(norm_layer=args.other)", ""),
        ("models.__dict__[args.arch]()", NORM),
        ("getattr(models, args.arch)(num_classes=3)", NORM),
        ("models.__dict__[args.other]()", ""),
        ("models.get_model(args.arch)", NORM),
        ("torchvision.models.get_model(name='resnet50', weights=None)", NORM),
        ("net18()", NORM),
        ("resnet34()", NORM),
        (
            "nn.Sequential(*list(models.resnet18().children())[:-1])",
            "BatchNorm2d '1' (and 19 more)",
        ),
        ("models.vgg16()", "Dropout 'classifier.2' (and 1 more) drops"),
        ("models.convnext_tiny()", ""),
        ("models.segmentation.deeplabv3_resnet50()", "BatchNorm2d 'backbone.bn1'"),
        ("models.detection.fasterrcnn_resnet50_fpn()", ""),
        ("models.detection.fasterrcnn_resnet50_fpn_v2()", "BatchNorm2d 'backbone.body.bn1'"),
        ("torch.hub.load('pytorch/vision', 'resnet18')", NORM),
        ("torch.hub.load('pytorch/vision:v0.10.0', model=args.arch, pretrained=True)", NORM),
        ("torch.hub.load('facebookresearch/barlowtwins:main', 'resnet50')", NORM),
        ("torch.hub.load('facebookresearch/dino:main', 'dino_vits16')", ""),
        ("torch.hub.load('ultralytics/yolov5', 'resnet18')", ""),
        ("timm.create_model('resnet50')", NORM),
        ("timm.create_model('resnet50.a1_in1k', pretrained=True)", NORM),
        ("timm.create_model(model_name='hf_hub:timm/resnet50.a1_in1k')", NORM),
        ("timm.create_model(args.arch, num_classes=10)", NORM),
        ("timm.create_model(args.other)", ""),
        ("timm.create_model('resnet50', norm_layer=nn.GroupNorm)", ""),
        ("timm.models.resnet50()", NORM),
        ("timm.models.__dict__['resnet50']()", NORM),
        ("timm_resnet50()", NORM),
        ("create('resnet50')", NORM),
        ("create_model('resnet50')", NORM),
        ("create_model('vit_base_patch16_224')", ""),
        ("create_model('vit_base_patch16_224', drop_rate=0.0)", ""),
        ("create_model('vit_base_patch16_224', drop_rate=0.1)", "Dropout 'drop_rate' drops"),
        ("torch.hub.load('huggingface/pytorch-image-models', 'resnet50')", NORM),
        ("smp.Unet('resnet34')", DECODER),
        ("smp.Unet(args.other, decoder_use_batchnorm=False)", ""),
        ("smp.Unet('resnet34', decoder_use_norm=False)", "BatchNorm2d 'encoder.bn1'"),
        ("smp.Unet('tu-resnet50', decoder_use_norm='identity')", "BatchNorm2d 'encoder.bn1'"),
        ("smp.Unet('mit_b0', decoder_use_norm='layernorm')", ""),
        ("smp.FPN('mit_b0')", "Dropout2d 'decoder.dropout'"),
        ("smp.create_model('unet', encoder_name='mit_b0')", DECODER),
        ("smp.create_model(args.other)", ""),
    ],
)
def test_what_a_constructor_builds(constructor: str, said: str) -> None:
    found = layers_in_training_mode(f"model = {constructor}\n")
    assert found.startswith(said) if said else not found, found


def test_a_known_model_inside_another_is_named_by_its_full_path() -> None:
    code = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = models.resnet18()

    def forward(self, x):
        return self.backbone(x)

model = Net()
"""
    assert layers_in_training_mode(code).startswith("BatchNorm2d 'backbone.bn1'")
    assert not layers_in_training_mode(f"{code}model.backbone.eval()\n")


@pytest.mark.parametrize(
    ("path", "shown"),
    [("bn", "bn"), ("(bn1)", "bn1"), ("net.(layer1.0.bn1)", "net.layer1.0.bn1"), ("3.(bn1)", "")],
)
def test_the_path_that_is_shown(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_the_table() -> None:
    text = files("bnlint.source").joinpath("known_models.json").read_text(encoding="utf-8")
    assert len(text) < 150_000
    assert text.count('"version"') == len(table()) == 3
    assert len(table()["timm"]) > 1300
    assert all(models for models in table().values())


BUILD = """
import json, sys
import generate_known_models as generator
library = generator.declare_operators()
from torchvision.models import get_model
models = {name: generator.build(lambda: get_model(name, weights=None)) for name in sys.argv[1:]}
print(json.dumps({name: dict(generator.layout_of(model)) for name, model in models.items()}))
"""


def test_the_table_is_what_torchvision_builds() -> None:
    pytest.importorskip("torch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    names = ["resnet18", "vgg16_bn", "mobilenet_v3_small", "swin_t"]
    docs = Path(bnlint.__file__).parents[1] / "docs"
    ran = subprocess.run(
        [sys.executable, "-c", BUILD, *names], cwd=docs, check=True, capture_output=True, text=True
    )
    built = json.loads(ran.stdout)
    assert {name: table()["torchvision"][name].layers for name in names} == built
