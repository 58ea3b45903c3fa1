"""Makes coco.json.gz: 500 generated sets of truths and detections, and what pycocotools 2.0.11 (numpy 2.4.6, Python 3.11)
makes of them; and VOC's average precision by a plain reading of VOC's development kit (VOCevaldet.m and VOCap.m).

    ~/.cache/thaw/peers/bin/python coco.py

pycocotools takes a detection that found the annotation with id 0 for a false positive. Thaw does not, so ids start at 1
here in all cases; in those with id 0 ("zero") the same set is evaluated again with all ids one lower, to keep the
difference on record.
"""
import contextlib
import gzip
import io
import json
import random

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CASES = 500


def truth_boxes(rng, exact):
    """One object: xyxy and its area as annotated."""
    kind = rng.random()
    if kind < 0.15:  # exactly on the borders of the area ranges
        side = rng.choice([32, 96])
        w, h = side, side
    elif kind < 0.3:
        w, h = rng.choice([(16, 64), (64, 16), (48, 192), (10, 10), (20, 10)])
    else:
        w, h = np.exp(rng.uniform(np.log(4), np.log(300))), np.exp(rng.uniform(np.log(4), np.log(300)))
    x, y = rng.uniform(0, 600 - min(w, 500)), rng.uniform(0, 500 - min(h, 400))
    box = [x, y, x + w, y + h]
    step = 0.25 if exact else 0.01
    box = [round(round(v / step) * step, 6) for v in box]
    area = (box[2] - box[0]) * (box[3] - box[1])
    a = rng.random()
    if a < 0.3:  # an outline's
        area = round(area * rng.uniform(0.3, 1), 2)
    elif a < 0.4:
        area = rng.choice([1024, 9216, 1024.0000001, 9215.9999])
    return box, area


def near(rng, box, exact):
    """A detection near a box, or exactly half of it."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    kind = rng.random()
    if kind < 0.15:
        return list(box)
    if kind < 0.25:
        return [x1, y1, x1 + w / 2, y2]
    if kind < 0.3:
        return [x1, y1, x1 + w * 0.75, y2]
    if kind < 0.4:
        side = rng.choice([32, 96])
        return [x1, y1, x1 + side, y1 + side]
    s = rng.choice([0.02, 0.05, 0.1, 0.2])
    out = [x1 + rng.gauss(0, s) * w, y1 + rng.gauss(0, s) * h, x2 + rng.gauss(0, s) * w, y2 + rng.gauss(0, s) * h]
    step = 0.25 if exact else 0.001
    out = [round(round(v / step) * step, 6) for v in out]
    if out[2] <= out[0]:
        out[2] = out[0] + 1
    if out[3] <= out[1]:
        out[3] = out[1] + 1
    return out


def make(seed):
    rng = random.Random(seed)
    exact = seed % 2 == 0
    classes = rng.randint(1, 5)
    many = seed % 25 == 3  # more than 100 detections of a class on a picture
    nothing = seed % 50 == 7
    levels = rng.choice([2, 5, 20, 1000])  # of scores: few make many equal
    crowds = rng.choice([0, 0, 0.2, 0.6])
    occurring = rng.sample(range(classes), rng.randint(1, classes))  # other classes have no truths
    ids = sorted(rng.sample(range(1, 10**6), rng.randint(1, 5)))
    pictures = []
    for i in ids:
        truths = []
        for _ in range(rng.choice([0, 1, 3, 8])):
            box, area = truth_boxes(rng, exact)
            truths.append([rng.choice(occurring), *box, area, int(rng.random() < crowds), int(rng.random() < 0.2)])
        detections = []
        n = 0 if nothing else rng.choice([0, 2, 8, 20]) if not many else rng.randint(120, 180)
        for _ in range(n):
            if truths and rng.random() < 0.75:
                t = rng.choice(truths)
                c = t[0] if rng.random() < 0.9 else rng.randrange(classes)
                box = near(rng, t[1:5], exact)
            else:
                c = rng.randrange(classes) if not many else occurring[0]
                box, _ = truth_boxes(rng, exact)
            detections.append([c, *box, rng.randrange(levels) / levels])
        pictures.append({"id": i, "truths": truths, "detections": detections})
    return {"classes": classes, "pictures": pictures, "zero": seed % 20 == 11}


def pycocotools(case, first):
    """Evaluates a case with annotation ids from first on."""
    gt = COCO()
    n = first
    annotations, results = [], []
    for p in case["pictures"]:
        for c, x1, y1, x2, y2, area, crowd, _ in p["truths"]:
            annotations.append({"id": n, "image_id": p["id"], "category_id": c + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
                                "area": area, "iscrowd": crowd})
            n += 1
        for c, x1, y1, x2, y2, score in p["detections"]:
            results.append({"image_id": p["id"], "category_id": c + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    images = [{"id": p["id"]} for p in case["pictures"]]
    categories = [{"id": c + 1, "name": str(c)} for c in range(case["classes"])]
    gt.dataset = {"images": images, "categories": categories, "annotations": annotations, "info": {}}
    gt.createIndex()
    if results:
        dt = gt.loadRes(results)
    else:  # loadRes fails on an empty list
        dt = COCO()
        dt.dataset = {"images": images, "categories": categories, "annotations": []}
        dt.createIndex()
    e = COCOeval(gt, dt, "bbox")
    e.evaluate()
    e.accumulate()
    e.summarize()
    return e


def mean(a):
    a = a[a > -1]
    return float(np.mean(a)) if a.size else -1.0


def of_class(e, k):
    """The twelve numbers of one class."""
    p, r = e.eval["precision"][:, :, k:k + 1], e.eval["recall"][:, k:k + 1]
    return [mean(p[:, :, :, 0, 2]), mean(p[0, :, :, 0, 2]), mean(p[5, :, :, 0, 2]), mean(p[:, :, :, 1, 2]),
            mean(p[:, :, :, 2, 2]), mean(p[:, :, :, 3, 2]), mean(r[:, :, 0, 0]), mean(r[:, :, 0, 1]), mean(r[:, :, 0, 2]),
            mean(r[:, :, 1, 2]), mean(r[:, :, 2, 2]), mean(r[:, :, 3, 2])]


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def voc(case, c):
    """VOC's two average precisions of a class; None without truths that count. A crowd is ignored as difficult is."""
    truths = [[[t[1:5], t[6] or t[7], False] for t in p["truths"] if t[0] == c] for p in case["pictures"]]
    positives = sum(not t[1] for p in truths for t in p)
    if positives == 0:
        return None
    found = [(i, d) for i, p in enumerate(case["pictures"]) for d in p["detections"] if d[0] == c]
    found.sort(key=lambda f: -f[1][5])  # stable
    tp, fp = [], []
    for i, d in found:
        best, at = -1.0, None
        for t in truths[i]:
            o = overlap(d[1:5], t[0])
            if o > best:
                best, at = o, t
        hit = miss = 0
        if at is not None and best >= 0.5:
            if not at[1]:
                if at[2]:
                    miss = 1
                else:
                    hit, at[2] = 1, True
        else:
            miss = 1
        tp.append(hit)
        fp.append(miss)
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    rec = [t / positives for t in tp]
    prec = [float(t / (t + f)) if t + f else 0.0 for t, f in zip(tp, fp)]
    eleven = 0.0
    for t in range(11):
        eleven += max([p for p, n in zip(prec, tp) if 10 * int(n) >= t * positives], default=0.0) / 11
    mrec, mpre = [0.0, *rec, 1.0], [0.0, *prec, 0.0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    area = sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)))
    return [float(area), eleven]


def main():
    cases = []
    for seed in range(CASES):
        case = make(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            e = pycocotools(case, 1)
            if case["zero"]:
                case["with_id_0"] = pycocotools(case, 0).stats.tolist()
        del case["zero"]
        case["stats"] = e.stats.tolist()
        case["per_class"] = [of_class(e, k) for k in range(case["classes"])]
        case["voc"] = [voc(case, k) for k in range(case["classes"])]
        if seed % 20 == 0:  # curves at 0.5 and 0.75
            case["precision"] = [e.eval["precision"][t, :, :, 0, 2].T.tolist() for t in (0, 5)]
            case["scores"] = [e.eval["scores"][t, :, :, 0, 2].T.tolist() for t in (0, 5)]
        cases.append(case)
    golden = {"iou": e.params.iouThrs.tolist(), "recall": e.params.recThrs.tolist(), "cases": cases}
    with open("coco.json.gz", "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z:
        z.write(json.dumps(golden, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()
