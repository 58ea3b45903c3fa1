"""Loads a model that Thaw saved with transformers and prints the largest difference between the two's logits.

    python check_transformers.py RUN [--thaw bin/thaw] [--texts FILE] [--predictions FILE] [--weights FILE] [--most 1e-5]

RUN is a run folder, or any folder with config.json and weights. Texts come one a line; without --texts it is the first
200 of examples/reviews/reviews.tsv. Thaw's logits come from `thaw predict RUN --json`, or from a file with its output.
Exits with 1 when a difference is above --most, a label differs, or a tensor is missing, unexpected or of another shape.

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
from transformers import AutoTokenizer, BertForSequenceClassification

transformers.logging.set_verbosity_error()
ROOT = pathlib.Path(__file__).resolve().parents[2]


def find(run, weights):
    """The folder with config.json, and the weights."""
    for folder in (run / "weights", run):
        if (folder / "config.json").exists():
            names = [weights] if weights else [folder / n for n in ("best.safetensors", "model.safetensors", "last.safetensors")]
            for path in map(pathlib.Path, names):
                if path.exists():
                    return folder, path
    sys.exit(f"{run}: no config.json with weights beside it")


def load(folder, weights):
    """from_pretrained on a copy under the names that transformers looks for; every key must fit."""
    with tempfile.TemporaryDirectory() as copy:
        for f in folder.iterdir():
            if f.is_file() and f.suffix != ".safetensors":
                shutil.copy(f, copy)
        (pathlib.Path(copy) / "model.safetensors").symlink_to(weights.resolve())
        model, info = BertForSequenceClassification.from_pretrained(copy, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(copy)
    missing = set(info["missing_keys"])
    if getattr(model.config, "thaw_pooling", "cls") == "mean":  # has no pooler
        missing -= {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    bad = {"missing": missing, "unexpected": info["unexpected_keys"], "mismatched": info["mismatched_keys"]}
    if any(bad.values()):
        sys.exit(f"{weights} does not fit: {bad}")
    return model.eval(), tokenizer


@torch.no_grad()
def logits(model, tokenizer, text):
    most = getattr(model.config, "thaw_max_length", 0) or model.config.max_position_embeddings
    batch = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
    if getattr(model.config, "thaw_pooling", "cls") != "mean":
        return model(**batch).logits[0]
    return model.classifier(model.bert(**batch).last_hidden_state[0].mean(0))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=pathlib.Path)
    p.add_argument("--thaw", default=ROOT / "bin/thaw")
    p.add_argument("--texts", type=pathlib.Path)
    p.add_argument("--predictions", type=pathlib.Path)
    p.add_argument("--weights", type=pathlib.Path)
    p.add_argument("--most", type=float, default=1e-5)
    a = p.parse_args()
    torch.set_num_threads(1)  # one text at a time: threads wait for each other longer than they compute
    if a.texts:
        texts = a.texts.read_bytes().decode("utf-8", "replace").split("\n")
    else:
        rows = (ROOT / "examples/reviews/reviews.tsv").read_bytes().decode("utf-8", "replace").split("\n")[1:201]
        texts = [row.split("\t")[0] for row in rows]
    texts = [t for t in texts if t.strip()]
    if a.predictions:
        out = a.predictions.read_text()
    else:
        out = subprocess.run([a.thaw, "predict", a.run, "--device", "cpu", "--json"], input="\n".join(texts) + "\n", text=True, check=True, stdout=subprocess.PIPE).stdout
    predictions = [json.loads(line) for line in out.splitlines()]
    if len(predictions) != len(texts):
        sys.exit(f"{len(predictions)} predictions for {len(texts)} texts")
    model, tokenizer = load(*find(a.run, a.weights))
    worst, differing, largest = 0.0, 0, 0.0
    for text, theirs in zip(texts, predictions):
        ours = logits(model, tokenizer, text)
        worst = max(worst, (ours - torch.tensor(theirs["logits"])).abs().max().item())
        largest = max(largest, ours.abs().max().item())
        differing += model.config.id2label[ours.argmax().item()] != theirs["label"]
    print(f"{len(texts)} texts: largest difference of logits {worst:.2e} (largest logit {largest:.2f}), {differing} labels differ")
    sys.exit(worst > a.most or differing > 0)


if __name__ == "__main__":
    main()
