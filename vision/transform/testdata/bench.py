"""Times torchvision's operations on Pillow's pictures, one thread, beside bench_test.go: microseconds, the tenth
percentile of single calls and their mean."""
import time

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import functional as F

torch.set_num_threads(1)
rng = np.random.default_rng(0)
photo = Image.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8))
small = Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
training = [T.RandomResizedCrop(224), T.RandomHorizontalFlip()]
cases = {
    "resized_crop": (lambda: F.resized_crop(photo, 37, 50, 300, 400, [224, 224])),
    "resized_crop_bicubic": (lambda: F.resized_crop(photo, 37, 50, 300, 400, [224, 224], T.InterpolationMode.BICUBIC)),
    "hflip": lambda: F.hflip(small), "vflip": lambda: F.vflip(small), "brightness": lambda: F.adjust_brightness(small, 1.3),
    "contrast": lambda: F.adjust_contrast(small, 1.3), "saturation": lambda: F.adjust_saturation(small, 1.3),
    "hue": lambda: F.adjust_hue(small, 0.1), "sharpness": lambda: F.adjust_sharpness(small, 1.3), "posterize": lambda: F.posterize(small, 4),
    "autocontrast": lambda: F.autocontrast(small), "equalize": lambda: F.equalize(small),
    "shear": lambda: F.affine(small, 0.0, [0, 0], 1.0, [11.3, 0.0], center=[0, 0]),
    "translate": lambda: F.affine(small, 0.0, [20, 0], 1.0, [0.0, 0.0]), "rotate": lambda: F.rotate(small, 12),
    "evaluation": lambda: F.center_crop(F.resize(photo, [256]), [224, 224]),
}
for name, extra in [("training", []), ("training_ra", [T.RandAugment()]), ("training_ta_wide", [T.TrivialAugmentWide()])]:
    cases[name] = lambda t=T.Compose(training + extra): t(photo)
for name, f in cases.items():
    f()
    times, end = [], time.perf_counter() + 0.4
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    times.sort()
    print(f"{name:24}{times[len(times) // 10] * 1e6:10.0f}{sum(times) / len(times) * 1e6:10.0f}")
