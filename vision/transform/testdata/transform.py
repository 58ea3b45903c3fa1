"""Writes transform.json.gz and sources.rgb.gz: what torchvision makes of Pillow's pictures.

Run it with torchvision 0.26, Pillow 13 and numpy; it reads ../../picture/testdata. Results are kept as the SHA-256 of
their RGB bytes and, so that a difference can be measured, as at most 96 bytes at equal distances.
"""
import base64
import gzip
import hashlib
import json
import os
from unittest import mock

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageOps
from torchvision.transforms import autoaugment, functional as F, InterpolationMode as Mode, transforms as T, v2
from torchvision.transforms._presets import ImageClassification

here = os.path.dirname(os.path.abspath(__file__))
pictures = os.path.join(here, "..", "..", "picture", "testdata")
Image.MAX_IMAGE_PIXELS = None

FILES = """odd-444.jpg odd-420.jpg even-420.jpg square-411.jpg odd-progressive-420.jpg quality-5.jpg restart-rows.jpg grey.jpg
cmyk.jpg one-pixel.jpg one-wide.jpg one-high.jpg three-by-two.jpg exif-5.jpg exif-6.jpg xmp-8.jpg rgb.png grey.png
grey-1-bit.png palette.png interlaced.png interlaced-grey-3-by-1.png one-pixel.png palette.gif interlaced.gif
grey.gif rgb-24-bit.bmp palette-8-bit.bmp one-bit.bmp lossy.webp lossy-larger.webp lossy-one-wide.webp lossy-two-pixels.webp
lossless.webp rgb-lzw.tif grey.tif palette.tif one-bit-group4.tif orientation-8.tif""".split()
SYNTHETIC = [(500, 375), (375, 500), (400, 300), (333, 500), (640, 427), (1024, 768), (224, 224), (256, 256), (232, 300), (225, 223),
             (1, 8000), (8000, 2), (2, 2), (3, 3), (5, 1), (37, 1000)]


def synthetic(width, height):
    """Slopes, edges and noise in stripes; transform_test.go computes the same."""
    x = np.arange(width, dtype=np.uint32)[None, :, None]
    y = np.arange(height, dtype=np.uint32)[:, None, None]
    c = np.arange(3, dtype=np.uint32)[None, None, :]
    slope = np.abs(((x * (3 + c) + y * (5 - c)) // 4 % 511).astype(np.int32) - 255).astype(np.uint32)
    edge = 255 * ((x // 8 + y // 5 + c) & 1) + 0 * slope
    noise = (((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) * np.uint32(2654435761)) >> 13 & 255
    stripe = (x + y) // 32 % 3 + 0 * slope
    return Image.fromarray(np.choose(stripe, [slope, edge, noise]).astype(np.uint8))


def cube():
    """All colours whose channels are multiples of 4, plus 3 for the blue ones: 512 x 512."""
    i = np.arange(64**3)
    return Image.fromarray(np.stack([i % 64 * 4, i // 64 % 64 * 4, i // 4096 * 4 + 3], -1).astype(np.uint8).reshape(512, 512, 3))


def flat():
    return Image.new("RGB", (20, 10), (10, 200, 77))


def result(im):
    raw = im.tobytes()
    step = max(1, -(-len(raw) // 96))
    return {"width": im.width, "height": im.height, "sha256": hashlib.sha256(raw).hexdigest(), "step": step,
            "sample": base64.b64encode(raw[::step]).decode()}


def main():
    sources, images, raw = [], {}, b""
    for name in FILES:
        with Image.open(os.path.join(pictures, name)) as im:
            im = ImageOps.exif_transpose(im).convert("RGB")
        data = im.tobytes()
        sources.append({"name": name, "width": im.width, "height": im.height, "rgb": [len(raw), len(raw) + len(data)]})
        raw += data
        images[name] = im
    made = [(f"synthetic-{w}x{h}", synthetic(w, h)) for w, h in SYNTHETIC] + [("cube", cube()), ("flat", flat())]
    for name, im in made:
        sources.append({"name": name, "width": im.width, "height": im.height, "sha256": hashlib.sha256(im.tobytes()).hexdigest()})
        images[name] = im

    evaluation = []
    for name, im in images.items():
        for resize in (232, 256):
            if name == "synthetic-1x8000" and resize == 232:
                continue  # 2 GB in Pillow: once is enough
            out = ImageClassification(crop_size=224, resize_size=resize)
            with mock.patch.object(F, "pil_to_tensor", lambda im: im), mock.patch.object(F, "convert_image_dtype", lambda im, _: im), \
                    mock.patch.object(F, "normalize", lambda im, **_: im):
                cropped = out(im)
            evaluation.append({"source": name, "resize": resize, "crop": 224, **result(cropped)})

    modes = {"bilinear": Mode.BILINEAR, "bicubic": Mode.BICUBIC, "nearest": Mode.NEAREST}
    resized = []
    for name, size in [("synthetic-500x375", (224, 224)), ("lossy-larger.webp", (224, 224)), ("lossy-larger.webp", (57, 300)),
                       ("lossy-larger.webp", (251, 100)), ("lossy-larger.webp", (101, 187)), ("synthetic-37x1000", (1, 1)),
                       ("synthetic-2x2", (224, 223)), ("synthetic-5x1", (11, 3)), ("one-pixel.png", (16, 7)),
                       ("synthetic-1024x768", (33, 31)), ("synthetic-8000x2", (7, 9)), ("restart-rows.jpg", (93, 71))]:
        for filter, mode in modes.items():
            im = F.resize(images[name], [size[1], size[0]], interpolation=mode)
            resized.append({"source": name, "filter": filter, **result(im)})
    rng = np.random.default_rng(7)  # the order of Pillow's passes depends on the sizes
    orders = []
    for _ in range(120):
        w, h, to_w, to_h = (int(v) for v in rng.integers(8, 150, 4))
        mode = ["bilinear", "bicubic"][int(rng.integers(2))]
        im = F.resize(synthetic(w, h), [to_h, to_w], interpolation=modes[mode])
        orders.append({"from": [w, h], "filter": mode, **result(im)})
    for w, h, to_w, to_h in [(100, 200, 50, 100), (100, 201, 50, 100), (100, 199, 50, 100), (100, 100, 101, 100), (100, 101, 101, 100)]:
        orders.append({"from": [w, h], "filter": "bilinear", **result(F.resize(synthetic(w, h), [to_h, to_w]))})
    crops = []
    for name, (i, j, h, w) in [("synthetic-500x375", (37, 41, 300, 400)), ("synthetic-500x375", (0, 0, 375, 499)),
                               ("synthetic-500x375", (374, 499, 1, 1)), ("lossy-larger.webp", (3, 100, 111, 151)),
                               ("lossy-larger.webp", (86, 0, 101, 224)), ("synthetic-333x500", (276, 100, 224, 224))]:
        for filter, mode in modes.items():
            im = F.resized_crop(images[name], i, j, h, w, [224, 224], interpolation=mode)
            crops.append({"source": name, "box": [j, i, j + w, i + h], "filter": filter, **result(im)})
    centered = []
    for name in ["synthetic-500x375", "lossy-larger.webp", "synthetic-5x1", "synthetic-225x223", "synthetic-37x1000", "one-pixel.png"]:
        for w, h in [(224, 224), (1, 1), (4, 2), (226, 222), (501, 3)]:
            centered.append({"source": name, **result(F.center_crop(images[name], [h, w]))})

    operations = []
    on = ["lossy-larger.webp", "synthetic-333x500", "synthetic-256x256", "restart-rows.jpg", "synthetic-2x2", "synthetic-3x3", "synthetic-5x1",
          "one-pixel.png", "flat", "palette.gif", "synthetic-37x1000"]

    def operation(name, arguments, function, sources):
        for source in sources:
            operations.append({"operation": name, "arguments": arguments, "source": source, **result(function(images[source]))})

    for f in [0, 0.1, 0.37, 0.73, 1, 1.27, 1.9, 7.5]:
        operation("Brightness", [f], lambda im: F.adjust_brightness(im, f), on)
        operation("Contrast", [f], lambda im: F.adjust_contrast(im, f), on)
        operation("Saturation", [f], lambda im: F.adjust_saturation(im, f), on + ["cube"] * (f in (0.37, 1.9)))
        operation("Sharpness", [f], lambda im: F.adjust_sharpness(im, f), on)
    for f in [-0.5, -0.31, -0.1, -0.003, 0, 0.02, 0.1, 0.499, 0.5]:
        operation("Hue", [f], lambda im: F.adjust_hue(im, f), on[:4] + ["cube"])
    for b in range(1, 9):
        operation("Posterize", [b], lambda im: F.posterize(im, b), on[:1])
    for t in [-1, 0, 0.5, 127.5, 178.5, 255, 256]:
        operation("Solarize", [t], lambda im: F.solarize(im, t), on[:1])
    operation("AutoContrast", [], F.autocontrast, on)
    operation("Equalize", [], F.equalize, on)
    operation("Invert", [], F.invert, on)
    operation("FlipHorizontal", [], F.hflip, on)
    operation("FlipVertical", [], F.vflip, on)
    apply = lambda op, m: lambda im: autoaugment._apply_op(im, op, m, Mode.NEAREST, None)
    for m in [0, 0.09000000357627869, 0.27, 0.3, 0.99]:
        for s in (1, -1):
            operation("ShearX", [s * m], apply("ShearX", s * m), on)
            operation("ShearY", [s * m], apply("ShearY", s * m), on)
    for m in [0, 1, 9.7, 32, 150.3, 400]:
        for s in (1, -1):
            operation("TranslateX", [s * m], apply("TranslateX", s * m), on)
            operation("TranslateY", [s * m], apply("TranslateY", s * m), on)
    for m in [0, 4.5, 9, 30, 58.5, 90, 121.5, 135, 180, 270]:
        for s in (1, -1):
            operation("Rotate", [s * m], apply("Rotate", s * m), on)
    operation("Rotate", [3], apply("Rotate", 3), ["synthetic-8000x2", "synthetic-1x8000"])

    magnitudes = []
    for bins in (31, 10, 2):
        for w, h in [(224, 224), (251, 187), (331, 1000), (1, 1)]:
            for wide, space in [(False, autoaugment.RandAugment(num_magnitude_bins=bins)._augmentation_space(bins, (h, w))),
                                (True, autoaugment.TrivialAugmentWide(num_magnitude_bins=bins)._augmentation_space(bins))]:
                magnitudes.append({"wide": wide, "bins": bins, "width": w, "height": h, "names": list(space), "signed": [s for _, s in
                                   space.values()], "magnitudes": [[float(v) for v in m.reshape(-1)] for m, _ in space.values()]})

    fallbacks = []  # no part of these pictures has a ratio within bounds, so nothing is random
    for w, h in [(1, 8000), (8000, 2), (100, 1), (31, 1000), (1000, 31), (3, 50)]:
        i, j, ch, cw = T.RandomResizedCrop.get_params(Image.new("RGB", (w, h)), [1.0, 1.0], [3 / 4, 4 / 3])
        fallbacks.append({"width": w, "height": h, "box": [j, i, j + cw, i + ch]})

    cuts = []
    for lam, x, y, w, h in [(0.5, 10, 20, 32, 48), (0.01, 0, 0, 32, 48), (0.999, 5, 5, 32, 48), (0.3, 31, 47, 32, 48), (0.0, 16, 24, 32, 48),
                            (0.75, 100, 3, 224, 7), (0.2, 0, 0, 1, 1)]:
        cut = v2.CutMix(num_classes=3)
        cut._dist = mock.Mock(sample=lambda _: torch.tensor(lam, dtype=torch.float64))
        with mock.patch.object(torch, "randint", side_effect=[torch.tensor([x]), torch.tensor([y])]):
            params = cut.make_params([torch.zeros(2, 3, h, w)])
        cuts.append({"lambda": lam, "x": x, "y": y, "width": w, "height": h, "box": [int(v) for v in params["box"]],
                     "adjusted": params["lam_adjusted"]})
    batch = torch.arange(4 * 3 * 5 * 6, dtype=torch.int64).mul(37).remainder(251).to(torch.uint8).reshape(4, 3, 5, 6)
    labels = torch.tensor([2, 0, 2, 2])
    cut = v2.CutMix(num_classes=3)
    params = {"labels": labels, "batch_size": 4, "box": (1, 2, 4, 5), "lam_adjusted": 0.7}
    pasted = cut.transform(batch, params).permute(0, 2, 3, 1).contiguous()
    mix = v2.MixUp(num_classes=3)
    mixing = {"labels": labels, "batch_size": 4, "lam": 0.7}
    mixed = {
        "batch": batch.permute(0, 2, 3, 1).reshape(-1).tolist(), "labels": labels.tolist(), "box": [1, 2, 4, 5], "lambda": 0.7,
        "pasted": pasted.reshape(-1).tolist(), "targets": cut.transform(labels, params).reshape(-1).tolist(),
        "blended": mix.transform(batch.float() / 255, mixing).reshape(-1).tolist(),
    }

    golden = {"versions": {"torchvision": torchvision.__version__, "torch": torch.__version__, "pillow": PIL.__version__, "numpy": np.__version__},
              "sources": sources, "evaluation": evaluation, "resized": resized, "orders": orders, "crops": crops, "centered": centered,
              "operations": operations, "magnitudes": magnitudes, "fallbacks": fallbacks, "cuts": cuts, "mixed": mixed}
    with open(os.path.join(here, "sources.rgb.gz"), "wb") as f:
        f.write(gzip.compress(raw, 9, mtime=0))
    with open(os.path.join(here, "transform.json.gz"), "wb") as f:
        f.write(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))


main()
