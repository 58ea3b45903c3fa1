"""Compares what a detector that thaw export wrote finds in torchvision with what thaw predict found.

    thaw export RUN EXPORTED --to torchvision
    thaw predict RUN PICTURES... --json --batch 1 > found.jsonl
    python check_boxes.py EXPORTED found.jsonl

Each picture goes through torchvision's network by itself. As many boxes, the same labels, edges within 0.01 pixel and scores
within 1e-4; boxes whose scores are as near as that may change places. Prints the largest differences.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0 (make peers).
"""
import json
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

EDGE, SCORE = 0.01, 1e-4


def load(folder):
    config = json.load(open(folder + "/config.json"))["torchvision"]
    name = config["architecture"]
    if "resnet50" in name:
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **config["arguments"])
    elif name.startswith("fcos_"):  # torchvision names the one on a ResNet-50 alone
        body = torchvision.models.get_model(name.split("_")[1], weights=None)
        extra = torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256)
        backbone = torchvision.models.detection.backbone_utils._resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=extra)
        model = torchvision.models.detection.FCOS(backbone, **config["arguments"])
    else:
        sys.exit(f"{name}: say here how torchvision builds it")
    for module in model.backbone.body.modules():
        if config["frozen_norms"] and isinstance(module, torch.nn.BatchNorm2d):
            module.eps = config["norm_eps"]
    model.load_state_dict(load_file(folder + "/model.safetensors"))
    return model.eval()


def main():
    folder, found = sys.argv[1:]
    model = load(folder)
    pictures = boxes = 0
    worst_edge = worst_score = 0.0
    for line in open(found):
        ours = json.loads(line)
        picture = torch.from_numpy(np.array(Image.open(ours["input"]).convert("RGB"))).permute(2, 0, 1) / 255
        with torch.no_grad():
            theirs = model([picture])[0]
        if len(ours["boxes"]) != len(theirs["scores"]):
            sys.exit(f"{ours['input']}: thaw finds {len(ours['boxes'])} boxes, torchvision {len(theirs['scores'])}")
        left = list(zip(theirs["boxes"].tolist(), theirs["labels"].tolist(), theirs["scores"].tolist()))
        for b in ours["boxes"]:
            near = [t for t in left if t[1] == b["label"] and abs(t[2] - b["score"]) <= SCORE]
            best = min(near, default=None, key=lambda t: max(abs(x - y) for x, y in zip(t[0], b["box"])))
            if best is None or max(abs(x - y) for x, y in zip(best[0], b["box"])) > EDGE:
                sys.exit(f"{ours['input']}: torchvision does not find {b}; of its label and score it has {near}")
            left.remove(best)
            worst_edge = max(worst_edge, *(abs(x - y) for x, y in zip(best[0], b["box"])))
            worst_score = max(worst_score, abs(best[2] - b["score"]))
            boxes += 1
        pictures += 1
    print(f"{pictures} pictures, {boxes} boxes: edges within {worst_edge:.2g} pixels, scores within {worst_score:.2g}")


if __name__ == "__main__":
    main()
