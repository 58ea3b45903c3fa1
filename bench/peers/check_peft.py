"""Loads the adapters of a run with PEFT and prints the largest difference between its logits and Thaw's.

    python check_peft.py RUN [--base FOLDER] [--adapter FOLDER] [--thaw bin/thaw] [--texts FILE] [--most 1e-5]

RUN is a run folder of a BERT with train: lora and pooling: cls. PEFT reads RUN/weights/adapter on the model that the run
began with, which adapter_config.json names, or --base; Thaw's logits come from `thaw predict RUN --json`, which reads
the merged weights. Texts come one a line; without --texts it is the first 200 of examples/reviews/reviews.tsv. What
PEFT saves of the adapters that it read must be what it read. Exits with 1 when a difference is above --most, a tensor is
missing or unexpected, or a label differs.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, peft 0.21.2 (make peers).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import peft
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForSequenceClassification

transformers.logging.set_verbosity_error()
warnings.filterwarnings("error", category=UserWarning, message=".*missing.*")  # PEFT only warns of keys that it does not find
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(run, adapter, base):
    """The run's adapters on the model that they belong to, with and without them merged."""
    base = base or json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    labels = json.loads((run / "weights/config.json").read_text())["id2label"]
    torch.manual_seed(0)  # of the head, which the adapters bring
    m = BertForSequenceClassification.from_pretrained(base, num_labels=len(labels), attn_implementation="eager", dtype=torch.float32)
    m = peft.PeftModel.from_pretrained(m, adapter).eval()
    m.config.id2label = {int(k): v for k, v in labels.items()}
    with tempfile.TemporaryDirectory() as copy:
        m.save_pretrained(copy)
        ours, theirs = load_file(pathlib.Path(copy) / "adapter_model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    different = {k for k in ours.keys() | theirs.keys() if k not in ours or k not in theirs or not torch.equal(ours[k], theirs[k])}
    if different - {k for k in ours if ".modules_to_save." in k or ".original_module." in k}:  # bias: all, copies beside the keys
        sys.exit(f"PEFT saves other tensors than it was given: {sorted(different)}")
    print(f"{len(theirs)} tensors, {sum(t.numel() for t in theirs.values())} elements, as PEFT saves them")
    return m, AutoTokenizer.from_pretrained(run / "weights")


@torch.no_grad()
def logits(model, tokenizer, texts, most):
    return [model(**tokenizer(t, truncation=True, max_length=most, return_tensors="pt")).logits[0] for t in texts]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=pathlib.Path)
    p.add_argument("--base")
    p.add_argument("--adapter", type=pathlib.Path)
    p.add_argument("--thaw", default=ROOT / "bin/thaw")
    p.add_argument("--texts", type=pathlib.Path)
    p.add_argument("--most", type=float, default=1e-5)
    a = p.parse_args()
    torch.set_num_threads(1)  # one text at a time: threads wait for each other longer than they compute
    if a.texts:
        texts = a.texts.read_text().split("\n")
    else:
        rows = (ROOT / "examples/reviews/reviews.tsv").read_bytes().decode("utf-8", "replace").split("\n")[1:201]
        texts = [row.split("\t")[0] for row in rows]
    texts = [t for t in texts if t.strip()]
    out = subprocess.run([a.thaw, "predict", a.run, "--device", "cpu", "--json"], input="\n".join(texts) + "\n", text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    predictions = [json.loads(line) for line in out.splitlines()]
    if len(predictions) != len(texts):
        sys.exit(f"{len(predictions)} predictions for {len(texts)} texts")
    model, tokenizer = load(a.run, a.adapter or a.run / "weights/adapter", a.base)
    config = json.loads((a.run / "weights/config.json").read_text())
    most = config.get("thaw_max_length") or config["max_position_embeddings"]
    theirs = [torch.tensor(p["logits"]) for p in predictions]
    failed = False
    for how in ("beside the weights", "merged by PEFT"):
        if how.startswith("merged"):
            labels = model.config.id2label
            model = model.merge_and_unload()
            model.config.id2label = labels
        ours = logits(model, tokenizer, texts, most)
        worst = max((x - y).abs().max().item() for x, y in zip(ours, theirs))
        differing = sum(model.config.id2label[x.argmax().item()] != p["label"] for x, p in zip(ours, predictions))
        print(f"{len(texts)} texts, adapters {how}: largest difference of logits {worst:.2e} "
              f"(largest logit {max(x.abs().max().item() for x in ours):.2f}), {differing} labels differ")
        failed |= worst > a.most or differing > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
