"""Checks that Thaw's program and torchvision predict the same of the same picture files, from the same weights.

    python check_pictures.py [--count 1000] [--most 1e-3] [--program bin/thaw]

Makes COUNT pictures: JPEG (4:2:0, 4:4:4, grey, progressive, turned by EXIF, CMYK), PNG (RGB, alpha, grey, palette), GIF,
BMP, WebP and TIFF, from 24 to 900 pixels a side. Two networks classify them:

- a ResNet-50 with torchvision's own random weights and norm statistics taken from some of the pictures, by
  bin/thaw predict --model resnet50 --weights FILE --json;
- a ResNet-18 that bin/thaw train fine-tunes on pictures of four kinds, by bin/thaw predict RUN --json; torchvision loads
  the run's weights with load_state_dict, strictly.

torchvision classifies with its own transforms on Pillow's pictures. Prints the largest difference of a logit, relative to
the largest logit of the network, and how many labels differ. Exits with 1 when a difference is above --most, or a label
differs whose two best logits are further apart than twice that.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, Pillow 13.0.0, numpy 2.4.3 (make build peers).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision import transforms

ROOT = pathlib.Path(__file__).resolve().parents[2]
THAW = ROOT / "bin" / "thaw"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINDS = 4


def drawing(rng, kind, width, height):
    """Clouds of noise in colours and of a coarseness that follow from the kind, which stripes cross."""
    side = [3, 6, 12, 24][kind]
    small = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    x = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    tint = np.array([[1, 0.5, 0.3], [0.3, 1, 0.5], [0.4, 0.5, 1], [0.9, 0.9, 0.4]][kind])
    stripes = 40 * np.sin(np.arange(width) / rng.uniform(2, 30))[None, :, None]
    x = x * tint + stripes + rng.normal(0, rng.uniform(0, 12), (height, width, 3))
    return Image.fromarray(x.clip(0, 255).astype(np.uint8))


def save(rng, picture, path, i):
    """Saves in one of the formats, in turn, and gives the path."""
    turned = Image.Exif()
    turned[0x0112] = int(rng.integers(1, 9))
    ways = [
        lambda: (".jpg", dict(quality=90)), lambda: (".jpg", dict(quality=95, subsampling=0)),
        lambda: (".jpeg", dict(quality=85, progressive=True)), lambda: (".jpg", dict(quality=90, exif=turned)),
        lambda: (".png", {}), lambda: (".webp", dict(quality=80)), lambda: (".webp", dict(lossless=True)),
        lambda: (".bmp", {}), lambda: (".tif", dict(compression="tiff_lzw")), lambda: (".tiff", {}),
        lambda: ("L.jpg", dict(quality=90)), lambda: ("L.png", {}), lambda: ("P.png", {}), lambda: ("P.gif", {}),
        lambda: ("RGBA.png", {}), lambda: ("CMYK.jpg", dict(quality=90)), lambda: ("L.tif", {}),
    ]
    name, options = ways[i % len(ways)]()
    mode, _, extension = name.rpartition(".")
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(rng.integers(0, 256, picture.size[::-1]).astype(np.uint8)))
    elif mode:
        picture = picture.convert(mode)
    path = path.with_name(f"{path.name}.{extension}")
    picture.save(path, **options)
    return path


def make(folder, rng, count, low, high):
    paths = []
    for i in range(count):
        kind = i % KINDS
        (folder / f"kind{kind}").mkdir(parents=True, exist_ok=True)
        width, height = (int(v) for v in np.exp(rng.uniform(np.log(low), np.log(high), 2)))
        paths.append(save(rng, drawing(rng, kind, width, height), folder / f"kind{kind}" / f"{i:04}", i // KINDS))
    return paths


def read(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def steps(resize, crop):
    return transforms.Compose([transforms.Resize(resize, antialias=True), transforms.CenterCrop(crop),
                               transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def by_torchvision(model, paths, step):
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(torch.stack([step(read(p)) for p in paths[i:i + 32]])) for i in range(0, len(paths), 32)])


def by_thaw(arguments, paths):
    args = [THAW, "predict", *arguments, "--device", "cpu", "--json"]
    out = subprocess.run(args, input="".join(f"{p}\n" for p in paths), stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    if [r["input"] for r in rows] != [str(p) for p in paths]:
        sys.exit("Thaw's lines are not the pictures in their order")
    return torch.tensor([r["logits"] for r in rows]), [r["class"] for r in rows]


def compare(what, want, got, classes, most):
    """Tells how far apart the logits are, and whether that is too far."""
    largest = want.abs().max()
    apart = ((got - want).abs().amax(1) / largest)
    two = want.topk(2).values
    close = (two[:, 0] - two[:, 1]) / largest
    other = [i for i, c in enumerate(classes) if c != want[i].argmax()]
    print(f"{what}: {len(want)} pictures; largest logit {largest:.3g}; difference of logits, relative to it: largest "
          f"{apart.max():.1e}, median {apart.median():.1e}; labels that differ: {len(other)}"
          + "".join(f" (its best two are {close[i]:.1e} apart)" for i in other[:5]), flush=True)
    return apart.max() > most or any(close[i] > 2 * most for i in other)


def resnet50(paths):
    """torchvision's random weights, with the statistics that its norms see in pictures, so that signals neither die nor explode."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50()
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = None  # a plain mean
                m.weight.uniform_(0.5, 1.5)
                m.bias.uniform_(-0.3, 0.3)
        step = steps(256, 224)
        for i in range(0, 64, 16):
            model(torch.stack([step(read(p)) for p in paths[i:i + 16]]))
        model.fc.weight.mul_(20)
    return model


SPEC = """
model: {model}
weights: none
data: {{train: {pictures}, test: "0.2"}}
images: {{size: 64, scale: [0.3, 1]}}
batch: {{size: 16}}
device: cpu
phases:
  - {{train: all, epochs: 3, lr: 1e-3, head_lr: 1e-3}}
"""


def main():
    global THAW
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--most", type=float, default=1e-3)
    parser.add_argument("--program", type=pathlib.Path, default=THAW)
    args = parser.parse_args()
    THAW = args.program.resolve()
    if not THAW.exists():
        sys.exit(f"{THAW} is not there: run make build")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = make(folder / "pictures", rng, args.count, 24, 900)
        wrong = False

        model = resnet50(paths)
        torch.save(model.state_dict(), folder / "resnet50.pth")
        got, classes = by_thaw(["--model", "resnet50", "--weights", folder / "resnet50.pth"], paths)
        wrong |= compare("torchvision's ResNet-50", by_torchvision(model, paths, steps(256, 224)), got, classes, args.most)

        make(folder / "train", rng, 240, 40, 200)
        (folder / "spec.yaml").write_text(SPEC.format(model="resnet18", pictures=folder / "train"))
        subprocess.run([THAW, "train", folder / "spec.yaml", f"out={folder / 'run'}"], check=True, stdout=subprocess.DEVNULL)
        model = torchvision.models.resnet18(num_classes=KINDS)
        model.load_state_dict(load_file(folder / "run" / "weights" / "best.safetensors"), strict=True)
        want = by_torchvision(model, paths, steps(73, 64))
        got, classes = by_thaw([folder / "run"], paths)
        wrong |= compare("a ResNet-18 that Thaw fine-tuned", want, got, classes, args.most)
        right = sum(c == i % KINDS for i, c in enumerate(classes))
        print(f"{right} of {len(paths)} are right")
        sys.exit(wrong)


main()
