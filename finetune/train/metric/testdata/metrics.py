"""Writes metrics.json: what scikit-learn and SciPy give for classes, several labels and numbers, for golden_test.go.

Run on Python 3.11 with scikit-learn 1.9.1, SciPy 1.17.1 and NumPy 2.4.6: python metrics.py
"""
import json
import math
import pathlib
import platform
import warnings

import numpy as np
import scipy
import sklearn
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (accuracy_score, confusion_matrix, f1_score, mean_absolute_error, mean_squared_error,
                             precision_recall_fscore_support)

warnings.simplefilter("ignore")  # of classes that are absent, and of constant numbers
HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)


def per_class(true, predicted, labels=None):
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted, labels=labels, average=None, zero_division=0)
    return {"precision": precision.tolist(), "recall": recall.tolist(), "f1": f1.tolist(), "support": [int(n) for n in support]}


def single(name, classes, true, predicted):
    labels = list(range(classes))
    true, predicted = [int(x) for x in true], [int(x) for x in predicted]
    return {
        "name": name, "classes": classes, "true": true, "predicted": predicted,
        "accuracy": accuracy_score(true, predicted),
        "macro_f1": f1_score(true, predicted, labels=labels, average="macro", zero_division=0),
        "confusion": confusion_matrix(true, predicted, labels=labels).tolist(),
        "per_class": per_class(true, predicted, labels),
    }


def multi(name, true, scores, threshold=0.5):
    """scores are logits, rounded so that JSON keeps them; none is near the threshold."""
    true = np.asarray(true)
    scores = np.round(np.asarray(scores, dtype=np.float64), 2)
    sigmoid = 1 / (1 + np.exp(-scores))
    assert np.abs(sigmoid - threshold).min() > 1e-4
    predicted = (sigmoid > threshold).astype(int)
    loss = np.mean(np.logaddexp(0, scores) - scores * true)
    return {
        "name": name, "true": true.tolist(), "logits": scores.tolist(), "threshold": threshold, "loss": float(loss),
        "micro_f1": f1_score(true, predicted, average="micro", zero_division=0),
        "macro_f1": f1_score(true, predicted, average="macro", zero_division=0),
        "subset_accuracy": accuracy_score(true, predicted),
        "per_class": per_class(true, predicted),
    }


def number(x):
    return None if math.isnan(x) else float(x)


def regression(name, true, predicted):
    true = np.asarray(true, dtype=np.float32).astype(np.float64)
    predicted = np.asarray(predicted, dtype=np.float32).astype(np.float64)
    return {
        "name": name, "true": true.tolist(), "predicted": predicted.tolist(),
        "mse": mean_squared_error(true, predicted), "mae": mean_absolute_error(true, predicted),
        "pearson": number(pearsonr(predicted, true).statistic), "spearman": number(spearmanr(predicted, true).statistic),
    }


singles = [
    single("two classes", 2, rng.integers(0, 2, 50), rng.integers(0, 2, 50)),
    single("five classes", 5, t := rng.integers(0, 5, 200), np.where(rng.random(200) < 0.6, t, rng.integers(0, 5, 200))),
    single("all right", 3, [0, 1, 2, 2, 1], [0, 1, 2, 2, 1]),
    single("all wrong", 3, [0, 1, 2, 2], [1, 2, 0, 1]),
    single("one class is never predicted", 3, rng.integers(0, 3, 60), rng.integers(0, 2, 60)),
    single("one class is never true", 3, rng.integers(0, 2, 60), rng.integers(0, 3, 60)),
    single("one class is absent", 4, rng.integers(0, 3, 60), rng.integers(0, 3, 60)),
    single("one row", 2, [1], [1]),
    single("one class is all there is", 2, [0] * 9, [0] * 9),
    single("unbalanced", 2, [0] * 95 + [1] * 5, [0] * 97 + [1] * 3),
]
multis = [
    multi("three labels", t := rng.integers(0, 2, (40, 3)), (2 * t - 1) * 0.8 + rng.normal(size=(40, 3)) + 0.003),
    multi("a threshold of 0.3", t := rng.integers(0, 2, (30, 4)), (2 * t - 1) * 0.5 + rng.normal(size=(30, 4)) + 0.003, 0.3),
    multi("all right", [[0, 1], [1, 1], [0, 0]], [[-1, 1], [2, 3], [-0.5, -0.25]]),
    multi("all wrong", [[0, 1], [1, 0]], [[1, -1], [-2, 3]]),
    multi("nothing is true or predicted", [[0, 0], [0, 0]], [[-1, -1], [-2, -3]]),
    multi("one label is never predicted", [[1, 1], [0, 1], [1, 0]], [[1, -1], [-2, -3], [-1, -1]]),
    multi("one label is never true", [[1, 0], [0, 0], [1, 0]], [[1, -1], [-2, 3], [-1, -1]]),
    multi("one row", [[1, 0, 1]], [[1, -1, -1]]),
]
x = rng.normal(size=40)
regressions = [
    regression("numbers", x, x * 0.7 + rng.normal(size=40) * 0.5 + 3),
    regression("ties", rng.integers(0, 5, 60), rng.integers(0, 4, 60)),
    regression("falling", np.arange(12.0), -np.arange(12.0) ** 3),
    regression("equal", x[:7], x[:7]),
    regression("two rows", [1, 2], [5, 4]),
    *(regression(f"{n} constant outputs of {c}", x[:n], [c] * n) for n in (3, 7, 10, 33) for c in (0.1, 0.7, 1.1)),
    *(regression(f"{n} constant targets of {c}", [c] * n, x[:n]) for n in (3, 7, 10, 33) for c in (0.1, 0.7, 1.1)),
    regression("both are constant", [0.3] * 6, [0.7] * 6),
    regression("large numbers", 1e6 + x, 1e6 + x + rng.normal(size=40)),
]
# Of one row SciPy gives nothing: a correlation takes two.
out = {"python": platform.python_version(), "sklearn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__,
       "single": singles, "multi": multis, "regression": regressions}
(HERE / "metrics.json").write_text(json.dumps(out) + "\n")
