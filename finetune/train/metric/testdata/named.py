"""Writes named.json.gz: what scikit-learn, SciPy and torchmetrics give for 200 generated cases each of classes, several
labels and numbers, for named_test.go. Only the results are kept: both sides make the cases from their numbers.

Run on Python 3.11 with scikit-learn 1.9.1, SciPy 1.17.1, NumPy 2.4.6, torchmetrics 1.9.0 and PyTorch 2.11.0: python named.py
"""
import gzip
import json
import math
import pathlib
import platform
import warnings

import numpy as np
import scipy
import sklearn
import torch
import torchmetrics
from scipy import stats
from sklearn import metrics as m
from torchmetrics.functional.classification.calibration_error import _ce_compute

warnings.simplefilter("ignore")  # of classes that are absent, and of constant numbers
HERE = pathlib.Path(__file__).parent
CASES = 200


class Draw:
    """SplitMix64 (Steele et al. 2014), as in named_test.go."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return (z ^ (z >> 31)) % n


CLASS_KINDS = ["plain", "ties", "an absent class", "one class only", "perfect", "constant predictions", "unbalanced", "certain"]
LABEL_KINDS = ["plain", "ties", "an absent label", "a label of all", "perfect", "constant scores", "nothing true", "rare"]
NUMBER_KINDS = ["plain", "ties", "constant targets", "constant predictions", "perfect", "falling", "two rows", "far from 0"]


def class_case(i):
    """Class numbers, and probabilities that are quotients of small numbers."""
    d = Draw(i + 1)
    rows, classes, kind = 5 + d.below(296), 2 + d.below(11), CLASS_KINDS[i % 8]
    truth, weights = [], []
    for _ in range(rows):
        t = d.below(classes)
        if kind == "an absent class":
            t = d.below(classes - 1)
        elif kind == "one class only":
            t = classes // 2
        elif kind == "unbalanced" and d.below(10) > 0:
            t = 0
        spread, boost = (3, 3) if kind == "ties" else (97, 150)
        w = [1 + d.below(spread) for _ in range(classes)]
        w[t] += d.below(boost)
        if kind == "perfect":
            w[t] += 1000
        elif kind == "constant predictions":
            w = list(range(1, classes + 1))
        elif kind == "certain":
            w = [0] * classes
            w[t if d.below(4) > 0 else d.below(classes)] = 1
        truth.append(t)
        weights.append(w)
    weights = np.array(weights, dtype=np.float64)
    return classes, np.array(truth), weights / weights.sum(axis=1, keepdims=True)


def label_case(i):
    """0 and 1, and scores that are quotients of small numbers."""
    d = Draw(1000 + i)
    rows, labels, kind = 5 + d.below(296), 2 + d.below(7), LABEL_KINDS[i % 8]
    truth, scores = np.zeros((rows, labels), dtype=int), np.zeros((rows, labels))
    of = 4 if kind == "ties" else 997
    for r in range(rows):
        for k in range(labels):
            t = int(d.below(100) < (5 if kind == "rare" else 40))
            s = d.below(of)
            if kind == "an absent label" and k == labels - 1 or kind == "nothing true":
                t = 0
            elif kind == "a label of all" and k == 0:
                t = 1
            if kind == "perfect":
                s = s // 2 + (of + 1) // 2 * t
            elif kind == "constant scores":
                s = k * 100
            elif t and d.below(3) > 0:
                s = (s + of) // 2
            truth[r, k], scores[r, k] = t, s / of
    return truth, scores


def number_case(i):
    """True and predicted numbers that are eighths."""
    d = Draw(2000 + i)
    rows, kind = 5 + d.below(296), NUMBER_KINDS[i % 8]
    if kind == "two rows":
        rows = 2
    truth, predicted = [], []
    for _ in range(rows):
        y = d.below(5) if kind == "ties" else d.below(2001) - 1000
        p = d.below(4) if kind == "ties" else y + d.below(801) - 400
        if kind == "constant targets":
            y = 3
        elif kind == "constant predictions":
            p = 5
        elif kind == "perfect":
            p = y
        elif kind == "falling":
            p = -2 * y
        elif kind == "far from 0":
            y, p = y + 8 * 10**6, p + 8 * 10**6
        truth.append(y / 8)
        predicted.append(p / 8)
    return np.array(truth), np.array(predicted)


def number(x):
    x = float(x)
    return None if math.isnan(x) else x


def averages(out, true, predicted, labels):
    for average in ["macro", "micro", "weighted"]:
        p, r, f, _ = m.precision_recall_fscore_support(true, predicted, labels=labels, average=average, zero_division=0)
        out |= {f"{average}_precision": p, f"{average}_recall": r, f"{average}_f1": f}
    p, r, f, _ = m.precision_recall_fscore_support(true, predicted, labels=labels, average=None, zero_division=0)
    return {"precision": p.tolist(), "recall": r.tolist(), "f1": f.tolist()}


def calibration(truth, p):
    confidence, predicted = torch.tensor(p).max(dim=1)
    correct = torch.tensor((p.argmax(axis=1) == truth).astype(np.float64))
    return _ce_compute(confidence, correct, 15, norm="l1")  # multiclass_calibration_error without its rounding to float32


def classes_of(i):
    classes, truth, p = class_case(i)
    labels, predicted = list(range(classes)), p.argmax(axis=1)
    out = {
        "accuracy": m.accuracy_score(truth, predicted), "balanced_accuracy": m.balanced_accuracy_score(truth, predicted),
        "matthews": m.matthews_corrcoef(truth, predicted), "kappa": m.cohen_kappa_score(truth, predicted, labels=labels),
        "log_loss": m.log_loss(truth, p, labels=labels), "brier": m.brier_score_loss(truth, p, labels=labels),
        "calibration_error": calibration(truth, p),
    }
    each = averages(out, truth, predicted, labels)
    onehot = np.eye(classes, dtype=int)[truth]
    if classes == 2:
        p1 = p[:, 1]
        out |= {name: m.roc_auc_score(truth, p1) for name in ["auroc", "weighted_auroc"]}
        out |= {name: m.average_precision_score(truth, p1) for name in ["average_precision", "weighted_average_precision"]}
        pr, rc, f, _ = m.precision_recall_fscore_support(truth, predicted, average="binary", zero_division=0)
        out |= {"precision": pr, "recall": rc, "f1": f}
    else:
        for prefix, average in [("", "macro"), ("weighted_", "weighted")]:
            out[prefix + "auroc"] = m.roc_auc_score(truth, p, multi_class="ovr", average=average, labels=labels)
            out[prefix + "average_precision"] = m.average_precision_score(onehot, p, average=average)
        for k in {2, 3} & set(range(2, classes)):
            # Classes are numbered backwards, so that the lower number wins where scores are equal.
            out[f"top_{k}_accuracy"] = m.top_k_accuracy_score(classes - 1 - truth, p[:, ::-1], k=k, labels=labels)
    return {"kind": CLASS_KINDS[i % 8], "values": {k: number(v) for k, v in out.items()}, "each": each}


def labels_of(i):
    truth, scores = label_case(i)
    predicted = (scores > 0.5).astype(int)
    out = {"subset_accuracy": m.accuracy_score(truth, predicted), "hamming_loss": m.hamming_loss(truth, predicted)}
    each = averages(out, truth, predicted, None)
    for prefix, average in [("", "macro"), ("weighted_", "weighted"), ("micro_", "micro")]:
        out[prefix + "auroc"] = m.roc_auc_score(truth, scores, average=average)
        out[prefix + "average_precision"] = m.average_precision_score(truth, scores, average=average)
    return {"kind": LABEL_KINDS[i % 8], "values": {k: number(v) for k, v in out.items()}, "each": each}


def numbers_of(i):
    truth, predicted = number_case(i)
    out = {
        "mse": m.mean_squared_error(truth, predicted), "rmse": m.root_mean_squared_error(truth, predicted),
        "mae": m.mean_absolute_error(truth, predicted), "r2": m.r2_score(truth, predicted),
        "pearson": stats.pearsonr(predicted, truth).statistic, "spearman": stats.spearmanr(predicted, truth).statistic,
    }
    return {"kind": NUMBER_KINDS[i % 8], "values": {k: number(v) for k, v in out.items()}}


def intervals():
    """Percentile intervals of SciPy, which draws other rows."""
    def of(statistic, *samples):
        i = stats.bootstrap(samples, statistic, n_resamples=4000, method="percentile", paired=True, vectorized=False, rng=0)
        return [number(i.confidence_interval.low), number(i.confidence_interval.high)]
    out = []
    for case in [0, 1, 6]:
        _, truth, p = class_case(case)
        hits = (p.argmax(axis=1) == truth).astype(float)
        first = (truth == 0).astype(int)
        out.append({"case": case, "accuracy": of(np.mean, hits), "first_auroc": of(m.roc_auc_score, first, p[:, 0])})
    truth, predicted = number_case(0)
    out.append({"case": 0, "spearman": of(lambda a, b: stats.spearmanr(a, b).statistic, truth, predicted),
                "r2": of(m.r2_score, truth, predicted)})
    return out


out = {
    "python": platform.python_version(), "sklearn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__,
    "torchmetrics": torchmetrics.__version__, "torch": torch.__version__,
    "classes": [classes_of(i) for i in range(CASES)], "labels": [labels_of(i) for i in range(CASES)],
    "numbers": [numbers_of(i) for i in range(CASES)], "intervals": intervals(),
}
(HERE / "named.json.gz").write_bytes(gzip.compress(json.dumps(out, allow_nan=False).encode(), mtime=0))
