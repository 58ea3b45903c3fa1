"""Writes metrics.json: what scikit-learn's accuracy_score, f1_score and confusion_matrix give, for metrics_test.go.

Run on Python 3.11 with scikit-learn 1.9.1: python metrics.py
"""
import json
import pathlib
import platform
import warnings

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

warnings.simplefilter("ignore")  # of classes that are absent
HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)


def case(name, classes, true, predicted):
    labels = list(range(classes))
    true, predicted = [int(x) for x in true], [int(x) for x in predicted]
    return {
        "name": name, "classes": classes, "true": true, "predicted": predicted,
        "accuracy": accuracy_score(true, predicted),
        "macro_f1": f1_score(true, predicted, labels=labels, average="macro", zero_division=0),
        "confusion": confusion_matrix(true, predicted, labels=labels).tolist(),
    }


cases = [
    case("two classes", 2, rng.integers(0, 2, 50), rng.integers(0, 2, 50)),
    case("five classes", 5, t := rng.integers(0, 5, 200), np.where(rng.random(200) < 0.6, t, rng.integers(0, 5, 200))),
    case("all right", 3, [0, 1, 2, 2, 1], [0, 1, 2, 2, 1]),
    case("all wrong", 3, [0, 1, 2, 2], [1, 2, 0, 1]),
    case("one class is never predicted", 3, rng.integers(0, 3, 60), rng.integers(0, 2, 60)),
    case("one class is never true", 3, rng.integers(0, 2, 60), rng.integers(0, 3, 60)),
    case("one class is absent", 4, rng.integers(0, 3, 60), rng.integers(0, 3, 60)),
    case("one row", 2, [1], [1]),
    case("one class is all there is", 2, [0] * 9, [0] * 9),
    case("unbalanced", 2, [0] * 95 + [1] * 5, [0] * 97 + [1] * 3),
]
out = {"python": platform.python_version(), "sklearn": sklearn.__version__, "cases": cases}
(HERE / "metrics.json").write_text(json.dumps(out) + "\n")
