"""Writes what transformers' pipeline says of texts with the heads that a config.json asks for, for text/head_test.go.

    python heads.py

    heads.json    the model of tiny/golden.json with a head of three classes and of one: scores by problem type, and of pairs

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, tokenizers 0.23.3, safetensors 0.8.0.
"""
import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline

HERE = pathlib.Path(__file__).parent
TEXTS = ["the film is good", "bad", "", "not very good. is it dull? yes!"]
PAIRS = [["the film is good", "yes"], ["bad", "it is not bad, it is very boring"]]


def main():
    config = json.loads((HERE / "tiny/config.json").read_text())
    bare = {k: v for k, v in load_file(HERE / "tiny/bare.safetensors").items() if k != "embeddings.position_ids"}
    g = torch.Generator().manual_seed(5)
    w, b = torch.randn(3, 32, generator=g) * 0.5, torch.randn(3, generator=g) * 0.5
    out = []
    single, multi = "single_label_classification", "multi_label_classification"
    for n, problem in (3, None), (3, single), (3, multi), (3, "regression"), (1, multi), (1, "regression"):
        m = BertForSequenceClassification(BertConfig(**{**config, "num_labels": n, "problem_type": problem})).eval()
        m.load_state_dict({"bert." + k: v for k, v in bare.items()} | {"classifier.weight": w[:n], "classifier.bias": b[:n]})
        with tempfile.TemporaryDirectory() as folder:
            m.save_pretrained(folder)
            shutil.copy(HERE / "tiny/vocab.txt", folder)
            classify = pipeline("text-classification", folder, tokenizer=AutoTokenizer.from_pretrained(folder), top_k=None)
            scores = lambda x: {s["label"]: s["score"] for s in classify(x)}
            out.append({"classes": n, "problem_type": problem, "scores": [scores({"text": x}) for x in TEXTS],
                        "pairs": [scores({"text": a, "text_pair": b}) for a, b in PAIRS]})
            print(n, problem, out[-1]["scores"][0])
    (HERE / "heads.json").write_text(json.dumps({"texts": TEXTS, "pairs": PAIRS, "heads": out}, indent=1) + "\n")


main()
