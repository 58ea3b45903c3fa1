"""Writes resnet18_zip.pth, resnet18_legacy.pth and names.json.gz for vision/checkpoint_test.go.

The .pth files hold torchvision's ResNet-18 state dict as torch.save writes it. To stay small, every tensor is one number
(its position in the state dict) expanded to its shape. The names are those of transformers' ResNetForImageClassification.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0: python checkpoint.py
"""
import gzip
import json
import pathlib
import platform

import torch
import torchvision
import transformers

HERE = pathlib.Path(__file__).parent

state = torchvision.models.resnet18(num_classes=3).state_dict()
for i, (key, t) in enumerate(state.items()):
    state[key] = torch.tensor(i, dtype=t.dtype).expand(t.shape)
torch.save(state, HERE / "resnet18_zip.pth")
torch.save(state, HERE / "resnet18_legacy.pth", _use_new_zipfile_serialization=False)

names = {}
for name, kind, sizes, depths in (("resnet18", "basic", [64, 128, 256, 512], [2, 2, 2, 2]), ("resnet50", "bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3])):
    config = transformers.ResNetConfig(layer_type=kind, hidden_sizes=sizes, depths=depths, num_labels=3)
    names[name] = {k: list(t.shape) for k, t in transformers.ResNetForImageClassification(config).state_dict().items()}
versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__, "transformers": transformers.__version__}
with gzip.GzipFile(HERE / "names.json.gz", "wb", mtime=0) as f:
    f.write(json.dumps({"versions": versions, "order": list(state), "transformers": names}).encode())
