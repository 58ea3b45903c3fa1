"""Trains a tiny BERT with thaw on a number, on several labels and on classes, exports it, and compares with transformers.

    python check_objectives.py [--thaw bin/thaw] [--most 1e-5]

For each objective: thaw train, thaw export and thaw predict --json; the exported folder must load by from_pretrained with every
key, carry the right problem_type and num_labels, and transformers' text-classification pipeline must give the same scores.
Exits with 1 when a score differs by more than --most, or a key does not fit.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0 (make peers).
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

transformers.logging.set_verbosity_error()
ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "text/testdata/tiny"
WORDS = "good bad film movie the is it not very was fun dull great boring no yes and but".split()
TEXTS = [" ".join(WORDS[(7 * i + 3 * k) % len(WORDS)] for k in range(3 + i % 5)) for i in range(40)]
CASES = {
    "regression": ("{objective: regression}", lambda t: str(len(t.split()) / 4), "regression", 1),
    "multi-label": ("{objective: multi-label, classes: [fun, dull, film]}",
                    lambda t: ";".join(w for w in ("fun", "dull", "film") if w in t.split()), "multi_label_classification", 3),
    "classification": ("{classes: [short, long]}", lambda t: "long" if len(t.split()) > 5 else "short", "single_label_classification", 2),
}


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def check(thaw, folder, name, most):
    head, label, problem, outputs = CASES[name]
    rows = "".join(json.dumps({"text": t, "label": label(t)}) + "\n" for t in TEXTS)
    (folder / f"{name}.jsonl").write_text(rows)
    head = head.replace("classes", 'separator: ";", classes') if name == "multi-label" else head
    (folder / f"{name}.yaml").write_text(f"""model: model
head: {head}
data: {{train: {name}.jsonl, columns: {{text: text, label: label}}, test: every 4}}
phases: [{{train: all, epochs: 2, lr: 1e-3}}]
out: run-{name}
""")
    run(thaw, "train", folder / f"{name}.yaml")
    run(thaw, "export", folder / f"run-{name}", folder / f"out-{name}")
    found = [json.loads(line) for line in run(thaw, "predict", folder / f"run-{name}", "--json", input="\n".join(TEXTS) + "\n").splitlines()]
    model, info = AutoModelForSequenceClassification.from_pretrained(folder / f"out-{name}", output_loading_info=True)
    bad = {k: v for k, v in info.items() if v}
    if bad or model.config.problem_type != problem or model.config.num_labels != outputs:
        sys.exit(f"{name}: {bad}, problem_type {model.config.problem_type}, num_labels {model.config.num_labels}")
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder / f"out-{name}"), top_k=None)
    worst = 0.0
    for text, ours in zip(TEXTS, found):
        theirs = {x["label"]: x["score"] for x in classify([text])[0]}
        if problem == "regression":
            worst = max(worst, abs(theirs["LABEL_0"] - ours["value"]))
        else:
            worst = max([worst, *(abs(theirs[k] - ours["scores"][k]) for k in theirs)])
    print(f"{name}: {len(TEXTS)} texts, largest difference of a score {worst:.1e}")
    return worst <= most


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--thaw", default=ROOT / "bin/thaw")
    p.add_argument("--most", type=float, default=1e-5)
    a = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        for name in ("config.json", "vocab.txt"):
            shutil.copy(TINY / name, folder / "model")
        shutil.copy(TINY / "bare.safetensors", folder / "model/model.safetensors")
        if not all([check(a.thaw, folder, name, a.most) for name in CASES]):
            sys.exit(1)


if __name__ == "__main__":
    main()
