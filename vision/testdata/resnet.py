"""Writes resnet.json.gz: what torchvision's ResNets give, for vision/resnet_test.go.

Weights and images are not stored: both sides make them by the same formulas, `formula` here and in the test. For each
architecture the golden holds logits in evaluation mode; then five steps of SGD in training mode: the losses, a digest of
every parameter's gradient at the first step and of every running statistic after the last. Then 30 losses of a ResNet-50,
and digests of what torchvision draws from a seed.

All is float32. The same in float64, and channels-last, tells how far float32 itself is from the truth ("noise", relative as
in the test): the test's tolerances must lie above. With weights as drawn they would not: an activation within 1e-7 of 0
falls on one side or the other of a ReLU, and where a channel has few pixels that alone moves a gradient by 1e-2. So the
formula's norms have weights well below their biases, which alternate in sign: half of the channels are mostly on, half
mostly off. And of the images, the first salt is taken with which, in the first training step, no input of a ReLU lies
within 2e-6 of 0 and no two of a pooling window within 5e-7 of each other where it matters, and every parameter has
a gradient (where all channels are on or off for good, the next norm takes a bias back out).

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, numpy 2: python resnet.py [architecture ...]
"""
import gzip
import json
import math
import pathlib
import platform
import sys

import numpy as np
import torch
import torchvision

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "torch/torchtest/testdata"))
from goldens import digest, numbers, stored, whole  # noqa: E402

CLASSES, BATCH, SIZE, STEPS, LR, MOMENTUM = 10, 4, 64, 5, 0.002, 0.9
LONG = dict(architecture="resnet50", batch=8, size=64, steps=30, lr=0.005, momentum=0.9, batches=4)
NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
         "wide_resnet50_2", "wide_resnet101_2"]


def formula(key, shape, last):
    """Middle, spread and alternation of a parameter or buffer."""
    if len(shape) == 4:
        return 0, math.sqrt(6 / math.prod(shape[1:])), False
    if key.startswith("fc."):
        return 0, 0.02, False
    if key.endswith("running_mean"):
        return 0, 0.1, False
    if key.endswith("running_var"):
        return 1, 0.25, False
    if key.endswith("bias"):
        return (0.25, 0.02, True) if last in key else (0.5, 0.05, True)
    return (0.1, 0.01, False) if last in key else (0.2, 0.02, False)


def network(name, dtype):
    """The architecture with its formula's weights."""
    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    last = ".bn2." if name in ("resnet18", "resnet34") else ".bn3."
    for key, t in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            t.copy_(numbers(key, t.shape, *formula(key, t.shape, last)))
    return model.to(dtype)


def images(name, n, size):
    return numbers(name, (n, 3, size, size), 0, math.sqrt(3))


def labels(name, n):
    return whole(name, n, CLASSES)


def batch(salt, i, n, size):
    return images(f"images.{salt}.{i}", n, size), labels(f"labels.{salt}.{i}", n)


def choose_salt(name):
    """The first salt that keeps away from the kinks."""
    model, margins = network(name, torch.float64).train(), []

    def relu(_, inputs):
        margins.append(inputs[0].abs().min().item() / 2e-6)

    def pool(module, inputs):
        windows = torch.nn.functional.unfold(torch.nn.functional.pad(inputs[0], (1, 1, 1, 1)), 3, stride=2)
        n, _, places = windows.shape
        top = windows.view(n, -1, 9, places).topk(2, dim=2).values
        gap = (top[:, :, 0] - top[:, :, 1])[top[:, :, 1] > 0]  # where the second is 0, a ReLU's margin stands for it
        margins.append(gap.min().item() / 5e-7)

    for m in model.modules():
        if isinstance(m, (torch.nn.ReLU, torch.nn.MaxPool2d)):
            m.register_forward_pre_hook(relu if isinstance(m, torch.nn.ReLU) else pool)
    for salt in range(1000):
        margins.clear()
        with torch.no_grad():
            model(batch(salt, 0, BATCH, SIZE)[0].double())
        if min(margins) <= 1:
            continue
        model.zero_grad()
        x, classes = batch(salt, 0, BATCH, SIZE)
        torch.nn.functional.cross_entropy(model(x.double()), classes).backward()
        if min(p.grad.abs().max() for p in model.parameters()) > 1e-5:
            return salt


def train(model, salt, batches, size, n, steps, lr, momentum, dtype, first=None, layout=torch.contiguous_format):
    """Losses of SGD over batches that come round; first is called with the first gradients."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    losses = []
    for step in range(steps):
        x, classes = batch(salt, step % batches, n, size)
        loss = torch.nn.functional.cross_entropy(model(x.to(dtype, memory_format=layout)), classes)
        optimizer.zero_grad()
        loss.backward()
        if step == 0 and first:
            first()
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(name, salt, dtype, layout=torch.contiguous_format):
    model = network(name, dtype).to(memory_format=layout).eval()
    with torch.no_grad():
        logits = model(images("images", 2, SIZE).to(dtype, memory_format=layout))
    out = {"logits": logits}

    def first():
        out["whole"] = {k: p.grad.double() for k, p in model.named_parameters()}
        out["gradients"] = torch.stack([digest(k, p.grad) for k, p in model.named_parameters()])

    out["losses"] = train(model, salt, STEPS, SIZE, BATCH, STEPS, LR, MOMENTUM, dtype, first, layout)
    out["params"] = {k: list(p.shape) for k, p in model.named_parameters()}
    out["buffers"] = {k: list(b.shape) for k, b in model.named_buffers()}
    out["statistics"] = torch.stack([digest(k, b) for k, b in model.named_buffers()])
    return out


def noise(a, b):
    """How far two runs lie apart."""
    relative = lambda x, y, scale: ((x - y).abs() / scale).max().item()
    rows = lambda x, y: relative(x[:, 3:], y[:, 3:], y[:, 2:3])
    la, lb = torch.tensor(a["losses"]), torch.tensor(b["losses"])
    return {"logits": relative(a["logits"], b["logits"], b["logits"].abs().max()),
            "gradients": max(relative(g, b["whole"][k], b["whole"][k].abs().max()) for k, g in a["whole"].items()),
            "statistics": rows(a["statistics"], b["statistics"]), "losses": relative(la, lb, lb)}


def drawn(name, **options):
    torch.manual_seed(7)
    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **options)
    return stored(torch.stack([digest(k, t.float()) for k, t in model.state_dict().items() if not k.endswith("tracked")]).float())


def main():
    nets = {}
    for name in sys.argv[1:] or NAMES:
        salt = choose_salt(name)
        out, last, truth = run(name, salt, torch.float32), run(name, salt, torch.float32, torch.channels_last), run(name, salt, torch.float64)
        smallest = min((g.abs().max().item(), k) for k, g in truth["whole"].items())
        apart = {k: [v, noise(last, truth)[k]] for k, v in noise(out, truth).items()}
        print(name, salt, {k: [f"{x:.1e}" for x in v] for k, v in apart.items()}, f"smallest gradient {smallest}", flush=True)
        out.pop("whole")
        nets[name] = {k: stored(v.float()) if isinstance(v, torch.Tensor) else v for k, v in out.items()} | {"noise": apart, "salt": salt}
    if sys.argv[1:]:
        return
    how = [LONG[k] for k in ("batches", "size", "batch", "steps", "lr", "momentum")]
    losses, truth = (train(network(LONG["architecture"], d), 0, *how, d) for d in (torch.float32, torch.float64))
    print("long", f"{max(abs(a - b) / b for a, b in zip(losses, truth)):.1e}", losses)
    golden = {"versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__},
              "classes": CLASSES, "batch": BATCH, "size": SIZE, "steps": STEPS, "lr": LR, "momentum": MOMENTUM, "networks": nets,
              "long": LONG | {"losses": losses, "noise": max(abs(a - b) / b for a, b in zip(losses, truth))},
              "init": {"resnet18": drawn("resnet18"), "resnext50_32x4d": drawn("resnext50_32x4d")},
              "init_zero": {"resnet18": drawn("resnet18", zero_init_residual=True), "resnet50": drawn("resnet50", zero_init_residual=True)}}
    path = pathlib.Path(__file__).with_name("resnet.json.gz")
    with gzip.GzipFile(path, "wb", mtime=0) as f:
        f.write(json.dumps(golden).encode())


main()
