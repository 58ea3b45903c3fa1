"""Checks that detectors as thaw export --to onnx writes them find in onnxruntime what Thaw finds, and torchvision.

    python check_detector_onnx.py [--only NAME] [--keep FOLDER]

Weights are the formulas' of vision/detection/testdata/detectors.py, with which scores are spread. Thaw (exports/detectors.go) loads
each detector, finds boxes in 20 pictures of odd sizes, one at a time, and exports it. Here the graph goes through onnx.checker,
strict shape inference and onnxruntime, and every fourth picture through torchvision's network: as many boxes, the same labels, edges within
0.01 pixel and scores within 1e-4; boxes whose scores are as near as that may change places. The program of the export's README runs.
Exits with 1 when anything differs.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, onnx 1.23.2, onnxruntime 1.32.0, and Go (make peers).
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "vision/detection/testdata"), str(ROOT / "bench/peers")]
import detectors  # noqa: E402
from check_exports import check_card, in_folder  # noqa: E402

EDGE, SCORE = 0.01, 1e-4
# Least score, shorter and longer side, and whether the export of a run is checked too. Some find nothing in some pictures, some as
# many as there may be, or have more than 1,000 candidates, for which torchvision has another NMS.
CASES = [
    ("fcos_resnet18_fpn", 0.02, 96, 128, True), ("retinanet_resnet18_fpn", 0.2, 64, 96, False),
    ("retinanet_resnet18_fpn_v2", 0.05, 64, 96, False), ("fasterrcnn_resnet18_fpn", 0.05, 64, 96, False),
    ("fasterrcnn_resnet18_fpn_v2", 0.8, 64, 96, False), ("fcos_resnet50_fpn", 0.1, 160, 256, False),
]
PROPOSALS = 40  # of Faster R-CNN in place of 1,000, which would take minutes


def pictures(folder):
    """Pictures of odd sizes, in patches, larger and smaller than what the networks make of them."""
    rng, paths = np.random.default_rng(0), []
    for k in range(20):
        wide, high = [(1, 1), (5, 300), (400, 11)][k] if k < 3 else rng.integers(40, 320, 2)
        coarse = Image.fromarray(rng.integers(0, 256, (high // 9 + 1, wide // 9 + 1, 3), np.uint8)).resize((wide, high), Image.Resampling.NEAREST)
        noisy = np.clip(np.asarray(coarse, np.int64) + rng.integers(-20, 20, (high, wide, 3)), 0, 255).astype(np.uint8)
        paths.append(str(folder / f"{k}.png"))
        Image.fromarray(noisy).save(paths[-1])
    return paths


def read(path):
    return np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) / 255


def session(folder):
    path = str(folder / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True, data_prop=True)
    if {o.domain for o in model.opset_import} != {""} or model.opset_import[0].version != 17:
        sys.exit(f"{path}: {model.opset_import}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    s = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if [i.name for i in s.get_inputs()] != ["image"] or [o.name for o in s.get_outputs()] != ["boxes", "labels", "scores"]:
        sys.exit(f"{path}: {[i.name for i in s.get_inputs()]}, {[o.name for o in s.get_outputs()]}")
    names = json.loads(s.get_modelmeta().custom_metadata_map["id2label"])
    if names != json.loads((folder / "config.json").read_text())["id2label"]:
        sys.exit(f"{path}: {names}")
    return s


def compare(where, got, want, worst):
    """Gives the number of boxes."""
    if len(got[2]) != len(want[2]):
        sys.exit(f"{where}: {len(got[2])} boxes, not {len(want[2])}")
    if any(a < b for a, b in zip(got[2], got[2][1:])):
        sys.exit(f"{where}: the scores do not fall")
    left = list(zip(*want))
    for box, label, score in zip(*got):
        near = [w for w in left if w[1] == label and abs(w[2] - score) <= SCORE]
        apart = lambda w: max(abs(float(x) - float(y)) for x, y in zip(w[0], box))
        best = min(near, default=None, key=apart)
        if best is None or apart(best) > EDGE:
            sys.exit(f"{where}: there is no {box}, {label}, {score}; of its label and score there are {near}")
        left.remove(best)
        worst[0], worst[1] = max(worst[0], apart(best)), max(worst[1], abs(float(best[2]) - float(score)))
    return len(got[2])


def torchvisions(case):
    """torchvision's network, whose state is written."""
    with torch.no_grad():
        model = detectors.weights(case["Name"], detectors.network(case["Name"])).eval()
    model.transform.min_size, model.transform.max_size = (case["MinSize"],), case["MaxSize"]
    part = model
    if case["Name"].startswith("fasterrcnn"):
        part, model.rpn._post_nms_top_n = model.roi_heads, {"training": 2000, "testing": PROPOSALS}
    part.score_thresh = case["MinScore"]
    save_file(model.state_dict(), case["Path"])
    return model


def check(folder, a):
    torch.set_num_threads(2)
    paths = pictures(folder)
    images = [read(p) for p in paths]
    cases = [{"Proposals": PROPOSALS} | dict(zip(["Name", "MinScore", "MinSize", "MaxSize", "Run"], c)) for c in CASES if (a.only or "resnet18") in c[0]]
    models = []
    for c in cases:
        c["Path"] = str(folder / (c["Name"] + ".safetensors"))
        models.append(torchvisions(c))
    (folder / "inputs.json").write_text(json.dumps({"Pictures": paths, "Detectors": cases}))
    subprocess.run(["go", "run", "./peers/exports", folder], cwd=ROOT / "bench", check=True)
    for c, model in zip(cases, models):
        s = session(folder / c["Name"])
        ours = json.loads((folder / (c["Name"] + ".json")).read_text())
        of_thaw, of_torchvision, boxes = [0, 0], [0, 0], 0
        for k, (path, image, want) in enumerate(zip(paths, images, ours)):
            where = f"{c['Name']}: {path}"
            got = s.run(None, {"image": image})
            boxes += compare(where + ", Thaw", got, (want["Boxes"], want["Labels"], want["Scores"]), of_thaw)
            if k % 4:
                continue
            with torch.no_grad():
                theirs = model([torch.from_numpy(image)])[0]
            compare(where + ", torchvision", got, [theirs[k].tolist() for k in ("boxes", "labels", "scores")], of_torchvision)
        said = "  README: " + check_card(folder / (c["Name"] + " run"), paths[3]).splitlines()[0] if c["Run"] else ""
        print(f"{c['Name']:27} {boxes:4} boxes; from Thaw's {of_thaw[0]:.1e} pixels, {of_thaw[1]:.1e} of the score, from torchvision's "
              f"{of_torchvision[0]:.1e}, {of_torchvision[1]:.1e}{said}", flush=True)
    print(f"{len(cases)} detectors, {len(paths)} pictures")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="", help="a part of the name of the detectors to check (those on a ResNet-18)")
    p.add_argument("--keep", help="a new folder to work in, which stays")
    in_folder(check, p.parse_args())


if __name__ == "__main__":
    main()
