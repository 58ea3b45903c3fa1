"""Writes boxes.json.gz: what torchvision's operators on boxes give, for the tests of package boxes. Inputs are made by
goldens.py of package torchtest. Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, numpy 2: python boxes.py
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
from torchvision import ops
from torchvision.models.detection import _utils
from torchvision.ops import poolers

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "torch/torchtest/testdata"))
from goldens import numbers, stored, whole  # noqa: E402


def boxes(key, n, extent, largest):
    """n boxes within extent, with sides of up to largest."""
    x = numbers(key, (n, 2), 0.5, 0.5) * (extent - largest)
    size = numbers(key + ".size", (n, 2), 0.5, 0.5) * largest + 0.01
    return torch.cat([x, x + size], 1)


def with_ties(scores, steps):
    return (scores * steps).floor() / steps


def odd(b, s):
    """Boxes of no area, turned around, and of numbers that are none."""
    b[3, 2:] = b[3, :2]
    b[5, 2] = b[5, 0] - 4
    b[7, 2:] = b[7, :2] - 3
    b[11] = b[10]
    b[20, 0] = math.nan
    b[21, 3] = math.inf
    s[9] = math.nan
    s[13] = math.inf
    s[14] = -math.inf
    s[15], s[16] = 0.0, -0.0
    return b, s


NMS = [  # key, number, extent, largest side, threshold, steps of the scores (0: none), odd boxes
    ("small", 60, 100, 40, 0.5, 0, False), ("ties", 300, 100, 40, 0.5, 10, False), ("many", 3000, 1000, 120, 0.5, 0, False),
    ("more", 3000, 800, 300, 0.7, 50, False), ("low", 2500, 500, 120, 0.1, 0, False), ("zero", 500, 500, 60, 0.0, 0, False),
    ("below", 300, 500, 60, -0.5, 0, False), ("one", 400, 60, 30, 1.0, 4, False), ("high", 2500, 90, 60, 0.9, 0, False),
    ("odd", 400, 100, 40, 0.5, 7, True), ("oddfew", 60, 60, 30, 0.3, 3, True), ("edge", 2500, 40, 8, 1 / 3, 0, False),
]
ROI = [(7, 7, 2, False, 0.25), (7, 5, 2, True, 0.25), (3, 4, 0, False, 0.25), (3, 4, 0, True, 0.5), (1, 2, 3, True, 1.0)]
BATCHED = [("b.small", 40, 100, 40, 0.5, 5), ("b.trick", 1000, 150, 90, 0.5, 91), ("b.each", 1001, 200, 90, 0.6, 7), ("b.more", 4000, 150, 90, 0.5, 91)]


def nms_inputs(key, n, extent, largest, steps, strange):
    b, s = boxes(key, n, extent, largest), numbers(key + ".scores", (n,), 0.5, 0.5)
    if key in ("edge", "one"):
        b = b.round()  # IoUs that are equal to the threshold
    if steps:
        s = with_ties(s, steps)
    return odd(b, s) if strange else (b, s)


def lower_first(kept, scores):
    """Of equal scores the lower position first, which torchvision's sort leaves open where it splits by class."""
    kept = kept.sort().values
    return kept[scores[kept].sort(descending=True, stable=True).indices].tolist()


def batched(k, n, extent, largest, threshold, classes):
    b, s = nms_inputs(k, n, extent, largest, 0, False)
    return lower_first(ops.batched_nms(b, s, whole(k + ".classes", n, classes), threshold), s)


def regions():
    """Regions of two pictures, some of which reach out of them, and one of no area."""
    b = boxes("regions", 12, 80, 50) - 10
    b[3] = torch.tensor([20.0, 20, 20, 20])
    b[4] = torch.tensor([-40.0, -30, 200, 150])
    b[5] = torch.tensor([300.0, 300, 330, 340])
    return torch.cat([whole("picture", 12, 2).float()[:, None], b], 1)


def level_boxes():
    """From 4 to 1000 pixels, and those at the borders of levels."""
    sides = torch.cat([torch.tensor([56.0, 112, 224, 448, 896, 111.99, 448.01]), numbers("sides", (60,), 500, 496)])
    return torch.stack([sides * 0, sides * 0, sides, sides], 1)


def main():
    out = {"versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__}}
    out["nms"] = [dict(key=k, n=n, extent=e, largest=g, threshold=t, steps=s, odd=o,
                       kept=ops.nms(*nms_inputs(k, n, e, g, s, o), t).tolist()) for k, n, e, g, t, s, o in NMS]
    out["batched"] = [dict(key=k, n=n, extent=e, largest=g, threshold=t, classes=c,
                           kept=batched(k, n, e, g, t, c))
                      for k, n, e, g, t, c in BATCHED]
    for x in out["nms"] + out["batched"]:
        print(x["key"], x["n"], len(x["kept"]))

    a, b = boxes("a", 20, 60, 30), boxes("b", 15, 60, 30)
    out["iou"], out["giou"] = stored(ops.box_iou(a, b)), stored(ops.generalized_box_iou(a, b))
    pairs = boxes("pair", 20, 60, 30)
    pairs[3] = a[3]  # the same, apart, touching, of no area
    pairs[4] = a[4] + 100
    pairs[5], pairs[5, 0] = a[5], a[5, 2]
    pairs[6, 2:] = pairs[6, :2]
    a.requires_grad_()
    loss = ops.generalized_box_iou_loss(a, pairs)
    loss.sum().backward()
    out["giou_loss"], out["giou_grad"] = stored(loss), stored(a.grad)
    a = a.detach()
    coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    codes = numbers("codes", (20, 8), 0, 30)
    out["encoded"] = stored(coder.encode_single(pairs[:6], a[:6]))
    out["decoded"] = stored(coder.decode_single(codes, a).view(20, 2, 4))
    linear = _utils.BoxLinearCoder()
    out["linear_encoded"], out["linear_decoded"] = stored(linear.encode(a, pairs)), stored(linear.decode(codes[:, :4], a))
    out["clipped"] = stored(ops.clip_boxes_to_image(a, (40, 30)))

    logits = numbers("logits", (30, 7), 0, 8).requires_grad_()
    classes = whole("classes", 30, 8) - 1
    targets = torch.zeros(30, 7)
    targets[classes >= 0, classes[classes >= 0]] = 1
    loss = ops.sigmoid_focal_loss(logits, targets)
    loss.sum().backward()
    out["focal"], out["focal_grad"] = stored(loss), stored(logits.grad)

    out["roi_align"] = []
    for height, width, sampling, aligned, scale in ROI:
        x = numbers("maps", (2, 20, 13, 17), 0, 1).requires_grad_()
        rois = regions()
        y = ops.roi_align(x, rois, (height, width), scale, sampling, aligned)
        y.backward(numbers("roi gradient", y.shape, 0, 1))
        out["roi_align"].append(dict(height=height, width=width, sampling=sampling, aligned=aligned, scale=scale, result=stored(y), gradient=stored(x.grad)))
    mapper = poolers.initLevelMapper(2, 5)
    out["levels"] = mapper([level_boxes()]).tolist()

    matches = []
    for low_quality in (False, True):
        for high, low, m in ((0.5, 0.4, 6), (0.7, 0.3, 6), (0.5, 0.5, 3)):
            truth, anchors = boxes(f"truth{m}", m, 60, 30), boxes("anchors", 200, 60, 30)
            truth[1] = torch.tensor([400.0, 400, 410, 410])  # fits no anchor
            anchors[10], anchors[11] = truth[0] + 1, truth[0] + 1  # a tie
            matches.append(dict(high=high, low=low, low_quality=low_quality, boxes=m,
                                matches=_utils.Matcher(high, low, low_quality)(ops.box_iou(truth, anchors)).tolist()))
    out["matches"] = matches
    with gzip.GzipFile(pathlib.Path(__file__).with_name("boxes.json.gz"), "wb", mtime=0) as f:
        f.write(json.dumps(out).encode())


main()
