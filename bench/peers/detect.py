"""Times torchvision's detection for bench/detect.go, one case a process: prints one JSON object.

    python detect.py infer|train FOLDER SECONDS THREADS LAYOUT
    python detect.py load FOLDER SECONDS 1
    python detect.py nms|batched-nms FILE SECONDS 1

FOLDER is that of loader.py's JPEGs with annotations.json beside them, which bench/detect.go writes; FILE holds boxes, scores
and classes as float32 numbers.

infer   FCOS on ResNet-50 with a feature pyramid, 91 classes, a picture at a time made 800 pixels high, from pixels in memory
train   the same network, a step on two pictures: torchvision's pyramid from pre-trained weights, so frozen batch norms and
        the stem and layer1 frozen; SGD with momentum, fused
load    batches of two as torchvision's references/detection make them (its data set, wrapped for transforms v2; flip,
        conversion), with the network's own resizing, normalising and padding, on one core
nms     torchvision.ops.nms and batched_nms of 20,000 boxes

LAYOUT is contiguous or channels_last. ns is the median of what one took, peak_bytes the process's own.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, Pillow 13.0.0, numpy 2.4.3 (make peers).
"""
import json
import os
import pathlib
import statistics
import sys
import time

import torch
import torchvision
from torchvision.models import detection, resnet
from torchvision.models.detection import backbone_utils
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms import v2

mode, place, seconds, threads = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
layout = sys.argv[5] if len(sys.argv) > 5 else "contiguous"
torch.set_num_threads(threads)


def network():
    """As fcos_resnet50_fpn(weights="COCO_V1") is built."""
    torch.manual_seed(7)
    body = resnet.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    n = detection.FCOS(backbone_utils._resnet_fpn_extractor(body, 3, [2, 3, 4], LastLevelP6P7(256, 256)), 91)
    with torch.no_grad():
        n.head.classification_head.cls_logits.bias.fill_(-2.4)  # about one candidate in ten is above the threshold
    return n.to(memory_format=torch.channels_last) if layout == "channels_last" else n


def reference():
    """The training set of references/detection with the preset "hflip" of transforms v2."""
    steps = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float, scale=True), v2.SanitizeBoundingBoxes(), v2.ToPureTensor()])
    return torchvision.datasets.wrap_dataset_for_transforms_v2(
        torchvision.datasets.CocoDetection(place, place / "annotations.json", transforms=steps), target_keys=["boxes", "labels", "image_id"])


def samples(count):
    """Pictures and targets in memory."""
    plain = torchvision.datasets.wrap_dataset_for_transforms_v2(
        torchvision.datasets.CocoDetection(place, place / "annotations.json", transforms=v2.Compose(
            [v2.ToImage(), v2.ToDtype(torch.float, scale=True), v2.ToPureTensor()])), target_keys=["boxes", "labels"])
    return [plain[i] for i in range(count)]


def timed(step):
    """The median of as many as take the seconds, the first two left out."""
    for i in range(2):
        step(i)
    took, i = [], 2
    while sum(took) < seconds * 1e9 or len(took) < 3:
        start = time.perf_counter_ns()
        step(i)
        took.append(time.perf_counter_ns() - start)
        i += 1
    return statistics.median(took)


more = {}
if mode == "infer":
    model, pictures, found = network().eval(), samples(8), []

    @torch.inference_mode()
    def step(i):
        found.append(len(model([pictures[i % 8][0]])[0]["scores"]))
elif mode == "train":
    model, pictures = network().train(), samples(8)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-5, momentum=0.9, weight_decay=1e-4, fused=True)

    def step(i):
        some = [pictures[(2 * i + k) % 8] for k in range(2)]
        loss = sum(model([p for p, _ in some], [t for _, t in some]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        more["loss"] = loss.item()
elif mode == "load":
    os.sched_setaffinity(0, {0})
    transform = network().transform
    loader = torch.utils.data.DataLoader(reference(), batch_size=2, shuffle=True, num_workers=0, collate_fn=lambda b: tuple(zip(*b)))
    batches = iter(())

    def step(_):
        global batches
        pictures, targets = next(batches, (None, None))
        if pictures is None:
            batches = iter(loader)
            pictures, targets = next(batches)
        made, _ = transform(list(pictures), list(targets))
        assert made.tensors.shape[:2] == (2, 3)
else:
    numbers = torch.frombuffer(bytearray(place.read_bytes()), dtype=torch.float32).view(-1, 6)
    boxes, scores, classes = numbers[:, :4].contiguous(), numbers[:, 4].contiguous(), numbers[:, 5].long()

    def step(_):
        kept = torchvision.ops.nms(boxes, scores, 0.5) if mode == "nms" else torchvision.ops.batched_nms(boxes, scores, classes, 0.5)
        more["kept"] = len(kept)

ns = timed(step)
if mode == "infer":
    more["found"] = found[:8]
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print(json.dumps({"ns": ns, "peak_bytes": peak, **more}))
