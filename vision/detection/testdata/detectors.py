"""Writes NAME.json.gz for each detector: what torchvision's gives, for vision/detection's tests.

Weights, pictures and targets are not stored: both sides fill them by the same formulas (goldens.py of package torchtest, `weights`
and `pictures` here and in formula_test.go). A golden holds the detections in 50 pictures of odd sizes, on canvases as they are
padded; the losses and a digest of every parameter's gradient for a training batch; the losses of 30 steps of SGD; digests of
what torchvision draws from a seed. Where torchvision samples at random (Faster R-CNN), it is made to take all candidates.

All is float32. "noise" is how far the same in float64 is away, relative as in the test: the tests' tolerances lie above.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, numpy 2: python detectors.py [name ...]
"""
import base64
import gzip
import json
import math
import pathlib
import platform
import sys
from functools import partial

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models import detection, resnet
from torchvision.models.detection import backbone_utils, faster_rcnn, fcos, image_list, retinanet
from torchvision.ops import FrozenBatchNorm2d, poolers
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "torch/torchtest/testdata"))
from goldens import digest, numbers, stored, whole, words  # noqa: E402

CLASSES = 5
BATCHES, PER_BATCH = 10, 5
STEPS, LR, MOMENTUM = 30, 0.00002, 0.9
PICTURES = ["train", "again", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
NAMES = ["fcos_resnet18_fpn", "fcos_resnet50_fpn", "retinanet_resnet18_fpn", "retinanet_resnet18_fpn_v2", "fasterrcnn_resnet18_fpn",
         "fasterrcnn_resnet18_fpn_v2"]


def network(name, classes=CLASSES):
    """The detector that torchvision would make of a ResNet, with frozen norms unless it is a second version."""
    kind, body = name.split("_")[:2]
    v2 = name.endswith("_v2")
    body = getattr(resnet, body)(weights=None, norm_layer=nn.BatchNorm2d if v2 else FrozenBatchNorm2d)
    extract = backbone_utils._resnet_fpn_extractor
    if kind == "fcos":
        return fcos.FCOS(extract(body, 5, [2, 3, 4], LastLevelP6P7(256, 256)), classes)
    if kind == "retinanet":
        backbone = extract(body, 5, [2, 3, 4], LastLevelP6P7(body.inplanes if v2 else 256, 256))
        if not v2:
            return retinanet.RetinaNet(backbone, classes)
        anchors = retinanet._default_anchorgen()
        head = retinanet.RetinaNetHead(256, 9, classes, norm_layer=partial(nn.GroupNorm, 32))
        head.regression_head._loss_type = "giou"
        return retinanet.RetinaNet(backbone, classes, anchor_generator=anchors, head=head)
    everything = dict(rpn_batch_size_per_image=10**6, rpn_positive_fraction=0.5, box_batch_size_per_image=10**6, box_positive_fraction=0.5,
                      rpn_post_nms_top_n_train=60, rpn_post_nms_top_n_test=100)
    if not v2:
        return scaled(faster_rcnn.FasterRCNN(extract(body, 5), classes, **everything))
    rpn = faster_rcnn.RPNHead(256, 3, conv_depth=2)
    head = faster_rcnn.FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=nn.BatchNorm2d)
    return scaled(faster_rcnn.FasterRCNN(extract(body, 5, norm_layer=nn.BatchNorm2d), classes, rpn_anchor_generator=faster_rcnn._default_anchorgen(),
                                         rpn_head=rpn, box_head=head, **everything))


def scaled(model):
    """Regions are read from levels whose places are 4, 8, 16 and 32 pixels apart. torchvision guesses that from the first batch's
    largest picture, which for small ones may come out otherwise."""
    model.roi_heads.box_roi_pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    model.roi_heads.box_roi_pool.map_levels = poolers.initLevelMapper(2, 5)
    return model


def formula(name, key, shape, steady):
    """Middle and spread of a parameter or buffer, and whether every second number is negated; steady weights are for training:
    few inputs of a ReLU lie near 0."""
    fan_in = math.prod(shape[1:])
    if key.startswith("backbone.body."):
        last = ".bn2." in key if "resnet18" in name else ".bn3." in key
        if len(shape) == 4:
            return 0, math.sqrt(6 / fan_in), False
        if key.endswith("running_mean"):
            return 0, 0.1, False
        if key.endswith("running_var"):
            return 1, 0.25, False
        if key.endswith("bias"):
            return (0.25, 0.02, True) if last else (0.5, 0.05, True)
        return (0.1, 0.01, False) if last else (0.2, 0.02, False)
    if key.endswith("running_mean"):
        return 0, 0.1, False
    if key.endswith("running_var"):
        return 1, 0.25, False
    for part, middle, spread, bias, bias_spread in [  # the layers that put something out
        ("fcos cls_logits", 0, 3, -4.7, 0.5), ("fcos bbox_reg", 0, 2, 2.5, 0.5), ("fcos bbox_ctrness", 0, 1, 0.5, 0.1),
        ("retinanet cls_logits", 0, 2, -5.3, 0.5), ("retinanet bbox_reg", 0, 0.4, 0, 0.1),
        ("fasterrcnn rpn.head.cls_logits", 0, 2, 0, 0.5), ("fasterrcnn rpn.head.bbox_pred", 0, 0.4, 0, 0.1),
        ("fasterrcnn cls_score", 0, 4, 0, 0.5), ("fasterrcnn box_predictor.bbox_pred", 0, 2, 0, 0.2),
    ]:
        kind, layer = part.split()
        if name.startswith(kind) and layer + "." in key:
            return (middle, spread / math.sqrt(fan_in), False) if key.endswith("weight") else (bias, bias_spread, False)
    if steady and "roi_heads.box_head." in key and len(shape) == 1 and name.endswith("_v2") and ".5." not in key:
        return (0.5, 0.05, True) if key.endswith("bias") else (0.1, 0.01, False)  # a norm's
    if len(shape) > 1:
        return 0, math.sqrt((3 if ".fpn." in key else 6) / fan_in), False
    if key.endswith("bias"):
        return 0, 0.1, False
    return 1, 0.1, False


def weights(name, model, steady=False):
    for key, t in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            middle, spread, alternate = formula(name, key, t.shape, steady)
            t.copy_(numbers(key, t.shape, middle, spread, alternate))
    return model


def pictures(key, n, low=60, high=130):
    """n pictures of odd sizes, in patches, on a canvas; their sizes, and those of the files they were made of."""
    at = words(key + ".sizes", 4 * n).astype(object)
    sizes = [(low + int(at[4 * i] % (high - low)), low + int(at[4 * i + 1] % (high - low))) for i in range(n)]
    stored = [(h + int(at[4 * i + 2] % h), w + int(at[4 * i + 3] % w)) for i, (h, w) in enumerate(sizes)]
    canvas = [-(-max(s[k] for s in sizes) // 32) * 32 for k in (0, 1)]
    x = torch.zeros(n, 3, *canvas)
    for i, (h, w) in enumerate(sizes):
        coarse = numbers(f"{key}.{i}.coarse", (3, -(-h // 8), -(-w // 8)), 0, 1.5).repeat_interleave(8, 1).repeat_interleave(8, 2)
        x[i, :, :h, :w] = coarse[:, :h, :w] + numbers(f"{key}.{i}.fine", (3, h, w), 0, 0.5)
    return x, sizes, stored


def targets(key, sizes, background):
    """Up to 4 boxes for each picture, none for the second of three."""
    out = []
    for i, (h, w) in enumerate(sizes):
        n = 0 if i % 3 == 1 else 1 + int(whole(f"{key}.{i}.count", 1, 4)[0])
        at = numbers(f"{key}.{i}.boxes", (n, 4), 0.5, 0.5)
        x1, y1 = at[:, 0] * (w - 20), at[:, 1] * (h - 20)
        x2, y2 = x1 + 12 + at[:, 2] * (w - x1 - 12), y1 + 12 + at[:, 3] * (h - y1 - 12)
        labels = whole(f"{key}.{i}.labels", n, CLASSES - background) + background
        out.append({"boxes": torch.stack([x1, y1, x2, y2], 1), "labels": labels})
    return out


def detect(model, x, sizes, stored):
    """What model.forward does behind its transform."""
    images = image_list.ImageList(x, sizes)
    features = model.backbone(x)
    if isinstance(model, faster_rcnn.FasterRCNN):
        proposals, _ = model.rpn(images, features, None)
        found, _ = model.roi_heads(features, proposals, sizes, None)
        return model.transform.postprocess(found, sizes, stored)
    features = list(features.values())
    head = model.head(features)
    anchors = model.anchor_generator(images, features)
    a = head["cls_logits"].size(1) // sum(f.size(2) * f.size(3) for f in features)
    per_level = [f.size(2) * f.size(3) * a for f in features]
    found = model.postprocess_detections({k: list(v.split(per_level, dim=1)) for k, v in head.items()}, [list(b.split(per_level)) for b in anchors], sizes)
    return model.transform.postprocess(found, sizes, stored)


def losses(model, x, sizes, target):
    images = image_list.ImageList(x, sizes)
    features = model.backbone(x)
    if isinstance(model, faster_rcnn.FasterRCNN):
        proposals, first = model.rpn(images, features, target)
        _, second = model.roi_heads(features, proposals, sizes, target)
        return first | second
    features = list(features.values())
    head, anchors = model.head(features), model.anchor_generator(images, features)
    if isinstance(model, fcos.FCOS):
        return model.compute_loss(target, head, anchors, [f.size(2) * f.size(3) for f in features])
    return model.compute_loss(target, head, anchors)


def train(name, key, steps, dtype, after_first=None, layout=torch.contiguous_format):
    model = weights(name, network(name), steady=True).to(dtype).to(memory_format=layout).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR, momentum=MOMENTUM)
    all_losses = []
    background = int(name.startswith("fasterrcnn"))
    for step in range(steps):
        x, sizes, _ = pictures(f"{key}.{step % 3}", 3, 64, 97)
        target = [{"boxes": t["boxes"].to(dtype), "labels": t["labels"]} for t in targets(f"{key}.{step % 3}", sizes, background)]
        parts = losses(model, x.to(dtype, memory_format=layout), sizes, target)
        loss = sum(parts.values())
        optimizer.zero_grad()
        loss.backward()
        if step == 0 and after_first:
            after_first(model, {k: v.item() for k, v in parts.items()})
        optimizer.step()
        all_losses.append(loss.item())
    return all_losses


def apart(a, b):
    """The largest difference of two sets of gradients, relative to the largest of each parameter's."""
    return max(((g - b[k]).abs().max() / b[k].abs().max()).item() for k, g in a.items())


def steady_pictures(name):
    """The first pictures of PICTURES with which no input of a ReLU lies so near 0 that rounding moves a gradient: the first step's
    gradients are those of float64, also channels-last."""
    for key in PICTURES:
        gradients = []

        def first(model, _):
            gradients.append({k: p.grad.detach().double().clone() for k, p in model.named_parameters()})

        train(name, key, 1, torch.float64, first)
        train(name, key, 1, torch.float32, first)
        train(name, key, 1, torch.float32, first, torch.channels_last)
        gaps = [apart(g, gradients[0]) for g in gradients[1:]]
        print(" ", key, gaps, flush=True)
        if max(gaps) < 5e-5: # half of what the test allows
            return key
    raise SystemExit(f"{name}: add to PICTURES")


def drawn(name):
    torch.manual_seed(7)
    model = getattr(detection, name.replace("resnet18", "resnet50"))(weights=None, weights_backbone=None, num_classes=CLASSES)
    return {k: digest(k, t.float()).tolist() for k, t in model.state_dict().items() if not k.endswith("tracked")}


def main():
    for name in sys.argv[1:] or NAMES:
        out = {"versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__},
               "classes": CLASSES, "lr": LR, "momentum": MOMENTUM}
        whole_set = "resnet50" not in name
        model = weights(name, network(name)).eval()
        out["state"] = {k: list(t.shape) for k, t in model.state_dict().items()}
        part = model.roi_heads if name.startswith("fasterrcnn") else model
        with torch.no_grad():  # a threshold that leaves about 30 detections of a picture
            x, sizes, files = pictures("eval.0", PER_BATCH)
            scores = sorted(float(d["scores"][min(30, len(d["scores"]) - 1)]) for d in detect(model, x, sizes, files))
        out["min_score"] = part.score_thresh = max(part.score_thresh, math.floor(1000 * scores[len(scores) // 2]) / 1000)
        found, counts, gap_of_boxes = [], [], 0.0
        with torch.no_grad():
            for b in range(BATCHES if whole_set else 1):
                x, sizes, files = pictures(f"eval.{b}", PER_BATCH)
                found.append([stored(torch.cat([d["boxes"], d["labels"][:, None].float(), d["scores"][:, None]], 1)) for d in detect(model, x, sizes, files)])
                counts += [f["shape"][0] for f in found[-1]]
        print(name, "detections", counts, "above", out["min_score"], flush=True)
        if whole_set:
            with torch.no_grad():
                double = weights(name, network(name)).double().eval()
                (double.roi_heads if name.startswith("fasterrcnn") else double).score_thresh = out["min_score"]
                for b in range(2):
                    x, sizes, files = pictures(f"eval.{b}", PER_BATCH)
                    for i, d in enumerate(detect(double, x.double(), sizes, files)):
                        data = bytearray(base64.b64decode(found[b][i]["data"])) # empty where nothing is found
                        w = torch.frombuffer(data, dtype=torch.float32).view(-1, 6) if data else torch.zeros(0, 6)
                        same = len(w) == len(d["labels"]) and (w[:, 4] == d["labels"]).all()
                        gap = (w[:, :4] - d["boxes"]).abs().max().item() if same and len(w) else 0
                        gap_of_boxes = max(gap_of_boxes, gap)
                        if not same:
                            print("  float64 differs:", b, i, len(w), len(d["labels"]))
        out["detections"] = found
        gradients = {}

        def first(model, parts):
            if "parts" not in out:
                out["parts"] = parts
            gradients[len(gradients)] = {k: p.grad.detach().double().clone() for k, p in model.named_parameters()}

        out["pictures"] = key = steady_pictures(name)
        out["losses"] = train(name, key, STEPS if whole_set else 1, torch.float32, first)
        truth = train(name, key, 8 if whole_set else 1, torch.float64, first)
        out["gradients"] = {k: digest(k, g).tolist() for k, g in gradients[0].items()}
        gap = {k: ((g - gradients[1][k]).abs().max() / gradients[1][k].abs().max()).item() for k, g in gradients[0].items()}
        out["noise"] = {"boxes": gap_of_boxes, "gradients": max(gap.values()), "losses": max(abs(a - b) / b for a, b in zip(out["losses"], truth))}
        print(" noise", out["noise"], max(gap, key=gap.get), "smallest gradient", min(g.abs().max().item() for g in gradients[1].values()))
        print(" parts", out["parts"], "losses", out["losses"][:3], out["losses"][-3:])
        if whole_set:
            out["init"] = drawn(name)
        with gzip.GzipFile(pathlib.Path(__file__).with_name(name + ".json.gz"), "wb", mtime=0) as f:
            f.write(json.dumps(out).encode())


if __name__ == "__main__":
    main()
