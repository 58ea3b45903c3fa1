"""Prints where scikit-learn and torchmetrics differ, for the table of docs/guide/metrics.md.

Run on Python 3.11 with scikit-learn 1.9.1, SciPy 1.17.1, torchmetrics 1.9.0 and PyTorch 2.11.0: python disagreements.py
"""
import warnings

import numpy as np
import torch
from scipy import stats
from sklearn import metrics as m
from torchmetrics.functional import classification as c
from torchmetrics.functional.classification.calibration_error import _ce_compute
from torchmetrics.functional import pearson_corrcoef, r2_score, spearman_corrcoef

warnings.simplefilter("ignore")
t = torch.tensor


def show(what, sklearn, torchmetrics):
    values = []
    for f in (sklearn, torchmetrics):
        try:
            values.append(f"{float(f()):.6g}")
        except Exception as e:
            values.append(f"{type(e).__name__}: {str(e)[:60]}")
    print(f"{what:75} scikit-learn {values[0]:12} torchmetrics {values[1]}")


true, predicted = [0, 0, 1, 1], [0, 1, 1, 1]
show("macro F1, class 2 of 3 neither true nor predicted",
     lambda: m.f1_score(true, predicted, labels=[0, 1, 2], average="macro", zero_division=0),
     lambda: c.multiclass_f1_score(t(predicted), t(true), num_classes=3, average="macro"))
show("balanced accuracy against macro recall, class 2 of 3 predicted, never true",
     lambda: m.balanced_accuracy_score([0, 0, 1, 1], [0, 2, 1, 1]),
     lambda: c.multiclass_recall(t([0, 2, 1, 1]), t([0, 0, 1, 1]), num_classes=3, average="macro"))
show("macro recall of the same",
     lambda: m.recall_score([0, 0, 1, 1], [0, 2, 1, 1], labels=[0, 1, 2], average="macro", zero_division=0),
     lambda: c.multiclass_recall(t([0, 2, 1, 1]), t([0, 0, 1, 1]), num_classes=3, average="macro"))
for name, y, p in [("all 1, all right", [1] * 4, [1] * 4), ("all 1, all wrong", [1] * 4, [0] * 4), ("all 1, half right", [1] * 4, [0, 0, 1, 1]),
                   ("mixed, all predicted 1", [0, 0, 0, 1], [1] * 4)]:
    show(f"Matthews of two classes, {name}", lambda: m.matthews_corrcoef(y, p), lambda: c.binary_matthews_corrcoef(t(p), t(y)))
show("Matthews of three classes, all 1, all right", lambda: m.matthews_corrcoef([1] * 4, [1] * 4),
     lambda: c.multiclass_matthews_corrcoef(t([1] * 4), t([1] * 4), num_classes=3))
show("kappa, all 1, all right", lambda: m.cohen_kappa_score([1] * 4, [1] * 4, labels=[0, 1]), lambda: c.binary_cohen_kappa(t([1] * 4), t([1] * 4)))
s = [0.1, 0.4, 0.35, 0.8]
for name, y in [("all positive", [1] * 4), ("none positive", [0] * 4)]:
    show(f"AUROC, {name}", lambda: m.roc_auc_score(y, s), lambda: c.binary_auroc(t(s), t(y)))
    show(f"average precision, {name}", lambda: m.average_precision_score(y, s), lambda: c.binary_average_precision(t(s), t(y)))
p3 = np.array([[.7, .2, .1], [.5, .3, .2], [.2, .6, .2], [.3, .4, .3]])
for average in ["macro", "weighted"]:
    show(f"{average} AUROC, class 2 of 3 has no rows", lambda: m.roc_auc_score(true, p3, multi_class="ovr", average=average, labels=[0, 1, 2]),
         lambda: c.multiclass_auroc(t(p3), t(true), num_classes=3, average=average))
    show(f"{average} average precision, class 2 of 3 has no rows", lambda: m.average_precision_score(np.eye(3, dtype=int)[true], p3, average=average),
         lambda: c.multiclass_average_precision(t(p3), t(true), num_classes=3, average=average))
tied = np.full((1, 3), 1 / 3)
for k in (1, 2):
    for y in (0, 2):
        show(f"top-{k} accuracy of class {y}, three equal scores", lambda: m.top_k_accuracy_score([y], tied, k=k, labels=[0, 1, 2]),
             lambda: c.multiclass_accuracy(t(tied), t([y]), num_classes=3, top_k=k, average="micro"))
large = np.array([2.0, 4.0, 6.0, 8.0])
show("Pearson, constant predictions", lambda: stats.pearsonr([3.0] * 4, large).statistic, lambda: pearson_corrcoef(torch.full((4,), 3.0), t(large).float()))
show("Spearman, constant predictions", lambda: stats.spearmanr([3.0] * 4, large).statistic, lambda: spearman_corrcoef(torch.full((4,), 3.0), t(large).float()))
show("R2, constant targets, wrong", lambda: m.r2_score([3.0] * 4, large), lambda: r2_score(t(large), torch.full((4,), 3.0, dtype=torch.float64)))
show("R2, constant targets, right", lambda: m.r2_score([3.0] * 4, [3.0] * 4), lambda: r2_score(t([3.0] * 4), t([3.0] * 4)))
show("R2, three targets of 0.1, predicted 0.5", lambda: m.r2_score([.1] * 3, [.5] * 3),
     lambda: r2_score(torch.full((3,), .5, dtype=torch.float64), torch.full((3,), .1, dtype=torch.float64)))
show("R2, one row", lambda: m.r2_score([3.0], [3.0]), lambda: r2_score(t([3.0]), t([3.0])))
edge, right = np.array([[4 / 15, 11 / 15], [.24, .76]]), np.array([1., 0.])  # 11/15 is a bound of 15 bins
show("calibration error, 11/15 right and 0.76 wrong: torchmetrics in float64", lambda: float("nan"),
     lambda: _ce_compute(t(edge).max(dim=1).values, t(right), 15))
show("calibration error, 11/15 right and 0.76 wrong: torchmetrics as it is", lambda: float("nan"),
     lambda: c.multiclass_calibration_error(t(edge), t([1, 0]), num_classes=2, n_bins=15))
sure, right = np.array([[0., 1.], [.04, .96]]), np.array([1., 0.])
show("calibration error, 1 right and 0.96 wrong", lambda: float("nan"),
     lambda: c.multiclass_calibration_error(t(sure), t([1, 0]), num_classes=2, n_bins=15))
never = np.array([[1., 0.], [.5, .5]])
show("log loss, wrong with certainty", lambda: m.log_loss([1, 0], never, labels=[0, 1]),
     lambda: torch.nn.functional.nll_loss(t(never).log(), t([1, 0])))
y = [[1, 0], [1, 0], [0, 0]]
sc = [[.9, .1], [.3, .2], [.5, .4]]
show("AUROC of labels, macro, a label of no row", lambda: m.roc_auc_score(y, sc, average="macro"), lambda: c.multilabel_auroc(t(sc), t(y), num_labels=2, average="macro"))
show("AUROC of labels, weighted, a label of no row", lambda: m.roc_auc_score(y, sc, average="weighted"), lambda: c.multilabel_auroc(t(sc), t(y), num_labels=2, average="weighted"))
show("AUROC of labels, weighted, no label at all", lambda: m.roc_auc_score(np.zeros((3, 2), int), sc, average="weighted"), lambda: c.multilabel_auroc(t(sc), t([[0, 0]] * 3), num_labels=2, average="weighted"))
show("F1 of labels, macro, a label neither true nor predicted", lambda: m.f1_score(y, [[1, 0], [0, 0], [0, 0]], average="macro", zero_division=0),
     lambda: c.multilabel_f1_score(t([[.9, .1], [.3, .2], [.4, .4]]), t(y), num_labels=2, average="macro"))
