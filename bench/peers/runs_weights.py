"""Makes FOLDER/resnet18.pth and FOLDER/resnet50.pth for bench/runs.go: torchvision's networks, 1000 classes, seeded random weights.

    python runs_weights.py FOLDER

The batch norms' statistics are those of a batch of noise, so that activations stay in range in evaluation mode too. The
networks know nothing: they serve to measure time and memory. Run on torch 2.11.0, torchvision 0.26.0 (make peers).
"""
import os
import pathlib
import sys

import torch
import torchvision

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name in ("resnet18", "resnet50"):
    if (folder / f"{name}.pth").exists():
        continue
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 224, 224))
    part = folder / f"{name}.{os.getpid()}.part"
    torch.save(model.state_dict(), part)
    part.rename(folder / f"{name}.pth")
