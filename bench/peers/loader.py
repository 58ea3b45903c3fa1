"""Times PyTorch's DataLoader for bench/loader.go: reads "epoch" a line, answers {"ns": ..., "cpu_ns": ...} a line.

    python loader.py FOLDER PICTURES BATCH CORE

Makes FOLDER with so many JPEGs of 500 x 375 pixels first, where it is not there. The transforms are those of torchvision's
references/classification/presets.py for training, by Pillow. All runs on one core, in this process.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, Pillow 13.0.0, numpy 2.4.3 (make peers).
"""
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torchvision import datasets, transforms

WIDTH, HEIGHT = 500, 375


def photograph(rng):
    """Something with a photograph's statistics: 1/f noise in colour, objects with edges and textures, sensor noise."""
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / WIDTH) ** rng.uniform(1.1, 1.6)

    def noise():
        spectrum = falloff * np.exp(2j * np.pi * rng.random(falloff.shape))
        x = np.fft.irfft2(spectrum, (HEIGHT, WIDTH))
        return (x - x.mean()) / x.std()

    light = noise()
    pixels = np.stack([light + 0.35 * noise() for _ in range(3)], 2)
    pixels = 118 + 45 * pixels + rng.normal(0, 20, 3)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture, "RGBA")
    for _ in range(rng.integers(3, 12)):
        corners = rng.uniform(-0.1, 1.1, (rng.integers(3, 8), 2)) * rng.uniform(0.2, 1) * [WIDTH, HEIGHT] + rng.uniform(0, 250, 2)
        draw.polygon([tuple(c) for c in corners], tuple(int(v) for v in rng.integers(0, 256, 3)) + (int(rng.integers(60, 200)),))
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    pixels = np.asarray(picture) + rng.normal(0, rng.uniform(1, 5), (HEIGHT, WIDTH, 1)) + rng.normal(0, 1.5, (HEIGHT, WIDTH, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make(folder, count):
    """Pictures in folders of four classes, complete or not there."""
    part = folder.with_name(folder.name + f".{os.getpid()}.part")
    rng = np.random.default_rng(0)
    for i in range(count):
        path = part / f"class{i % 4}" / f"{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(rng).save(path, quality=92)  # Pillow's default is 4:2:0
    part.rename(folder)


folder, count, batch, core = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
if not folder.exists():
    make(folder, count)
os.sched_setaffinity(0, {core})
torch.set_num_threads(1)
steps = transforms.Compose([
    transforms.RandomResizedCrop(224, antialias=True), transforms.RandomHorizontalFlip(0.5),
    transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
loader = torch.utils.data.DataLoader(datasets.ImageFolder(folder, steps), batch_size=batch, shuffle=True, num_workers=0)

for line in sys.stdin:
    answer = {}
    if line.strip() == "epoch":
        start, cpu = time.perf_counter_ns(), time.process_time_ns()
        seen = sum(len(x) for x, _ in loader)
        answer = {"ns": time.perf_counter_ns() - start, "cpu_ns": time.process_time_ns() - cpu}
        if seen != count:
            sys.exit(f"{seen} pictures, not {count}")
    print(json.dumps(answer), flush=True)
