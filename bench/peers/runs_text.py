"""A whole fine-tuning of MiniLM on the movie reviews with PyTorch and transformers on the CPU: a peer of bench/runs.go.

    python runs_text.py MODEL_FOLDER GROUND_TRUTH.txt --as D|B --train full|top2|head --epochs N --lr 2e-4[,...] [--head-lr-times 10]

--as D is written as the documentation has it: BertForSequenceClassification, whose pooler reads the first token, shuffled
batches that are padded to their longest text, the threads that PyTorch takes, the same rate for all that is trained.

--as B is written by its best user for the same machine: the network and rates that Thaw trains (the mean of the tokens, the
head at --head-lr-times the rate); batches of like length (transformers' group_by_length), which mostly need no mask; frozen
layers in evaluation mode under no_grad, so that autograd keeps nothing of them; fused AdamW; as many threads as cores;
bfloat16 where the CPU multiplies it (AMX or AVX512-BF16) and two forward passes are faster so. There is no torch.compile: a
new length is a new compilation or slower code, and its minutes do not pay in runs of minutes.

Both clip gradients at 1, warm up for a tenth of the steps, and evaluate once, at the end. Of several rates and seeds each is a run, from
the same weights, in this process. Split: every tenth line is for testing; label: mean rating > 0.

Prints one JSON object: seconds of training and of evaluation (reading and tokenizing are not counted), accuracies, peak
resident bytes. Run on torch 2.11.0, transformers 5.17.0, tokenizers 0.23.3 (make peers).
"""
import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import time

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification, BertModel

from runs_common import multiplies_bfloat16

BATCH, EVAL_BATCH, LONGEST = 32, 64, 128


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("reviews")
    p.add_argument("--as", dest="user", choices=["D", "B"], required=True)
    p.add_argument("--train", choices=["full", "top2", "head"], required=True)
    p.add_argument("--epochs", type=int, required=True)
    p.add_argument("--lr", type=lambda text: [float(v) for v in text.split(",")], required=True)
    p.add_argument("--share", type=float, default=1, help="of the steps, after which training ends")
    p.add_argument("--seed", type=lambda text: [int(v) for v in text.split(",")], default=[1])
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of B")
    p.add_argument("--head-lr-times", type=float, default=10)
    return p.parse_args()


def read(path, tokenizer):
    """The training and the test rows: (ids, label)."""
    rows = []
    with open(path, encoding="utf-8", errors="replace", newline="\n") as f:
        for line in f:
            columns = line.rstrip("\r\n").split("\t")
            if len(columns) >= 3:
                rows.append((columns[2], int(float(columns[1]) > 0)))
    encoded = tokenizer.encode_batch([text for text, _ in rows])
    rows = [(e.ids, label) for e, (_, label) in zip(encoded, rows)]
    return [r for i, r in enumerate(rows) if i % 10], rows[::10]


def padded(rows):
    """ids and mask [N, longest] and labels [N]; mask is None where all texts are as long."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (row, _) in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = True
    return ids, None if mask.all() else mask, torch.tensor([label for _, label in rows])


class Default:
    """D: transformers' own classifier."""

    def __init__(self, folder, train):
        self.model = BertForSequenceClassification.from_pretrained(folder, num_labels=2)
        bert = self.model.bert
        if train == "head":
            bert.requires_grad_(False)
        elif train == "top2":
            bert.embeddings.requires_grad_(False)
            bert.encoder.layer[:-2].requires_grad_(False)
        self.model.train()

    def optimizer(self, lr, head_times):
        return torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=lr, weight_decay=0.01)

    def order(self, rows):
        rows = random.sample(rows, len(rows))
        return [rows[at:at + BATCH] for at in range(0, len(rows), BATCH)]

    def logits(self, ids, mask):
        mask = torch.ones_like(ids) if mask is None else mask.long()
        return self.model(input_ids=ids, attention_mask=mask).logits

    def loss(self, ids, mask, labels):
        mask = torch.ones_like(ids) if mask is None else mask.long()
        return self.model(input_ids=ids, attention_mask=mask, labels=labels).loss


class Best(torch.nn.Module):
    """B: the encoder in two halves, the frozen one apart, and a head on the mean of the tokens."""

    def __init__(self, folder, train, bfloat16):
        super().__init__()
        config = BertConfig.from_pretrained(folder)
        self.bert = BertModel(config, add_pooling_layer=False)
        weights = {k.removeprefix("bert."): v for k, v in load_file(folder + "/model.safetensors").items()}
        missing = self.bert.load_state_dict(weights, strict=False).missing_keys
        if missing:
            raise SystemExit(f"{folder} lacks {missing}")
        self.dropout = torch.nn.Dropout(config.hidden_dropout_prob)
        self.classifier = torch.nn.Linear(config.hidden_size, 2)
        torch.nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        torch.nn.init.zeros_(self.classifier.bias)
        self.bfloat16 = bfloat16
        self.frozen = {"full": -1, "top2": len(self.bert.encoder.layer) - 2, "head": len(self.bert.encoder.layer)}[train]
        if self.frozen >= 0:
            self.bert.embeddings.requires_grad_(False)
            self.bert.encoder.layer[:self.frozen].requires_grad_(False)
        self.begin()

    def begin(self):
        """Training mode, but for what is frozen."""
        self.train()
        if self.frozen >= 0:
            self.bert.embeddings.eval()
            self.bert.encoder.layer[:self.frozen].eval()

    @property
    def model(self):
        return self

    def optimizer(self, lr, head_times):
        body = [p for p in self.bert.parameters() if p.requires_grad]
        groups = [{"params": list(self.classifier.parameters()), "lr": lr * head_times}] + ([{"params": body, "lr": lr}] if body else [])
        return torch.optim.AdamW(groups, weight_decay=0.01, fused=True)

    def order(self, rows):
        """As transformers' LengthGroupedSampler: sorted within stretches of 50 batches; then the batches are shuffled."""
        rows = random.sample(rows, len(rows))
        batches = []
        for at in range(0, len(rows), 50 * BATCH):
            some = sorted(rows[at:at + 50 * BATCH], key=lambda r: len(r[0]))
            batches += [some[k:k + BATCH] for k in range(0, len(some), BATCH)]
        random.shuffle(batches)
        return batches

    def logits(self, ids, mask):
        attention = None if mask is None else mask[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            with torch.no_grad() if self.frozen >= 0 else contextlib.nullcontext():
                x = self.bert.embeddings(ids)
                for layer in self.bert.encoder.layer[:max(0, self.frozen)]:
                    x = layer(x, attention)
            for layer in self.bert.encoder.layer[max(0, self.frozen):]:
                x = layer(x, attention)
            if mask is None:
                x = x.mean(1)
            else:
                x = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return self.classifier(self.dropout(x))

    def loss(self, ids, mask, labels):
        return torch.nn.functional.cross_entropy(self.logits(ids, mask).float(), labels)


def pays(folder, rows):
    """Whether bfloat16 is faster here."""
    if not multiplies_bfloat16():
        return False
    took = []
    for bfloat16 in (False, True):
        net = Best(folder, "head", bfloat16)
        batch = padded(rows[:BATCH])[:2]
        with torch.inference_mode():
            net.logits(*batch)
            start = time.perf_counter()
            for _ in range(3):
                net.logits(*batch)
        took.append(time.perf_counter() - start)
    return took[1] < took[0]


def train(net, rows, epochs, lr, head_times, share):
    """Gives the share of the steps that was trained."""
    steps = epochs * -(-len(rows) // BATCH)
    last, done = round(share * steps), 0
    optimizer = net.optimizer(lr, head_times)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / (0.1 * steps)) * max(0, 1 - s / steps))
    trained = [p for p in net.model.parameters() if p.requires_grad]
    for _ in range(epochs):
        for batch in net.order(rows):
            net.loss(*padded(batch)).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            done += 1
            if done == last:
                return done / steps


def evaluate(net, rows):
    net.model.eval()
    right = 0
    with torch.inference_mode():
        for at in range(0, len(rows), EVAL_BATCH):
            ids, mask, labels = padded(rows[at:at + EVAL_BATCH])
            right += (net.logits(ids, mask).argmax(1) == labels).sum().item()
    return right / len(rows)


def main():
    args = arguments()
    if args.user == "B":
        torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(args.model + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    rows, test = read(args.reviews, tokenizer)
    bfloat16 = False
    if args.user == "B":
        test.sort(key=lambda r: len(r[0]))
        bfloat16 = pays(args.model, rows)
    said = {"train_seconds": 0, "evaluate_seconds": 0, "accuracies": []}
    for lr, seed in itertools.product(args.lr, args.seed):
        torch.manual_seed(seed)
        random.seed(seed)
        net = Default(args.model, args.train) if args.user == "D" else Best(args.model, args.train, bfloat16)
        start = time.perf_counter()
        said["share"] = train(net, rows, args.epochs, lr, args.head_lr_times, args.share)
        trained = time.perf_counter()
        said["accuracies"].append(evaluate(net, test))
        said["train_seconds"] += trained - start
        said["evaluate_seconds"] += time.perf_counter() - trained
    said |= {"threads": torch.get_num_threads(), "precision": "bfloat16" if bfloat16 else "float32",
             "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    print(json.dumps(said), flush=True)


main()
