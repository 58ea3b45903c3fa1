"""Makes boxes.json: what torchvision 0.26.0 (torch 2.11.0) makes of boxes when a picture is flipped, resized and cropped.

    ~/.cache/thaw/peers/bin/python boxes.py
"""
import json
import random

import torch
from torchvision.transforms.v2 import SanitizeBoundingBoxes
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes


def main():
    rng = random.Random(1)
    cases = []
    for _ in range(40):
        w, h = rng.randint(20, 300), rng.randint(20, 300)
        boxes = []
        for _ in range(rng.randint(1, 6)):
            x1, x2 = sorted(round(rng.uniform(0, w), 3) for _ in range(2))
            y1, y2 = sorted(round(rng.uniform(0, h), 3) for _ in range(2))
            boxes.append([x1, y1, x2 + 0.01, y2 + 0.01])
        b = BoundingBoxes(torch.tensor(boxes, dtype=torch.float64), format="XYXY", canvas_size=(h, w))
        to = rng.randint(10, 400), rng.randint(10, 400)
        cw, ch = rng.randint(5, w), rng.randint(5, h)
        left, top = rng.randint(0, w - cw), rng.randint(0, h - ch)
        cropped = F.crop(b, top, left, ch, cw)
        kept = SanitizeBoundingBoxes(labels_getter=None)(cropped)
        cases.append({"size": [w, h], "boxes": boxes, "flipped": F.horizontal_flip(b).tolist(), "to": to,
                      "resized": F.resize(b, [to[1], to[0]]).tolist(), "part": [left, top, left + cw, top + ch],
                      "cropped": cropped.tolist(), "kept": kept.tolist()})
    with open("boxes.json", "w") as f:
        f.write("[" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "]\n")


if __name__ == "__main__":
    main()
