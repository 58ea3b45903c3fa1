"""Reads the event files of a run folder with TensorBoard, as the web page does, and compares them with steps.csv and
metrics.csv: every row is there once, in order, with its value; no step comes twice, also where the run went on after
an interruption. Prints what TensorBoard finds.

    python check_tensorboard.py RUN...
"""

import collections
import csv
import math
import pathlib
import sys

from tensorboard.backend.event_processing import event_accumulator


def curves(folder):
    """The scalars by tag, as TensorBoard keeps them: all of them, and what a restart outdates taken away."""
    a = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    a.Reload()
    return {tag: [(e.step, e.value) for e in a.Scalars(tag)] for tag in a.Tags()["scalars"]}


def same(a, b):
    return a == b or abs(a - b) <= 1e-6 * max(abs(a), abs(b)) or math.isnan(a) and math.isnan(b)


def check(folder):
    found, faults = curves(folder), []
    for tag, points in found.items():
        steps = [step for step, _ in points]
        twice = [step for step, n in collections.Counter(steps).items() if n > 1]
        if twice:
            faults.append(f"{tag}: steps {twice} come more than once")
        if steps != sorted(steps):
            faults.append(f"{tag}: the steps are not in order")

    with open(folder / "steps.csv") as f:
        rows = list(csv.DictReader(f))
    last = {}  # step of each epoch
    for row in rows:
        last[row["epoch"]] = int(row["step"])
    expected = {"loss/train": [(int(r["step"]), float(r["loss"])) for r in rows]}
    if (folder / "metrics.csv").exists():
        with open(folder / "metrics.csv") as f:
            for row in csv.DictReader(f):
                for name, value in row.items():
                    if name in ("epoch", "phase", "train_loss", "seconds") or not value:
                        continue
                    tag = "loss/test" if name == "test_loss" else "metric/" + name
                    expected.setdefault(tag, []).append((last[row["epoch"]], float(value)))
    for tag, points in expected.items():
        shown = found.get(tag, [])
        if tag != "loss/train":  # and before anything is trained
            shown = [p for p in shown if p[0] > 0]
        if [s for s, _ in shown] != [s for s, _ in points]:
            faults.append(f"{tag}: TensorBoard has steps {[s for s, _ in shown]}, the table {[s for s, _ in points]}")
        elif not all(same(a[1], b[1]) for a, b in zip(shown, points)):
            faults.append(f"{tag}: the values are not those of the table")

    files = sorted(folder.glob("events.out.tfevents.*"))
    print(f"{folder}: {len(files)} event files, {len(rows)} rows of steps")
    for tag, points in sorted(found.items()):
        print(f"  {tag:32} {len(points):5} points, steps {points[0][0]} to {points[-1][0]}")
    return [f"{folder}: {fault}" for fault in faults]


if len(sys.argv) < 2:
    sys.exit("usage: check_tensorboard.py RUN...")
wrong = [fault for run in sys.argv[1:] for fault in check(pathlib.Path(run))]
if wrong:
    sys.exit("\n".join(wrong))
print("as the tables have it")
