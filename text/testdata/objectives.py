"""Writes what transformers computes when BERT is trained on a number, and on several labels, for text/objectives_test.go.

    python objectives.py    writes objectives.json.gz

The model is tiny/ of bert.py. For each problem_type: the head's weights, 30 batches with their targets, the losses of 30
AdamW steps on them, and the logits of the first batch after the last step, in evaluation.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, safetensors 0.8.0.
"""
import gzip
import json
import pathlib
import platform

import safetensors
import torch
import transformers
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

HERE = pathlib.Path(__file__).parent
STEPS, ROWS, LR, DECAY, CLIP, WARM_UP = 30, 8, 2e-3, 0.01, 1.0, 3


def model(problem, labels):
    config = BertConfig(**json.loads((HERE / "tiny/config.json").read_text()), num_labels=labels, problem_type=problem,
                        attn_implementation="eager")
    m = BertForSequenceClassification(config)
    weights = {"bert." + k: v for k, v in load_file(HERE / "tiny/bare.safetensors").items() if k != "embeddings.position_ids"}
    g = torch.Generator().manual_seed(7)
    weights["classifier.weight"] = torch.randn(labels, config.hidden_size, generator=g) * 0.1
    weights["classifier.bias"] = torch.randn(labels, generator=g) * 0.1
    m.load_state_dict(weights)
    return m.train()


def batch(g, labels):
    """Random texts; what they should give depends on which tokens they hold."""
    ids = []
    for _ in range(ROWS):
        n = int(torch.randint(3, 20, (1,), generator=g))
        ids.append([2, *torch.randint(5, 99, (n,), generator=g).tolist(), 3])
    if labels == 1:
        targets = [sum(t % 7 for t in x) / len(x) - 3 for x in ids]
    else:
        targets = [[float(any(t % 11 == k for t in x)) for k in range(labels)] for x in ids]
    return ids, targets


def padded(ids):
    longest = max(map(len, ids))
    pad = lambda rows: torch.tensor([r + [0] * (longest - len(r)) for r in rows])
    return dict(input_ids=pad(ids), attention_mask=pad([[1] * len(r) for r in ids]))


def train(problem, labels):
    m = model(problem, labels)
    head = {"weight": m.classifier.weight.tolist(), "bias": m.classifier.bias.tolist()}
    g = torch.Generator().manual_seed(11)
    batches = [batch(g, labels) for _ in range(STEPS)]
    params = list(m.parameters())
    optimizer = torch.optim.AdamW(params, lr=LR, weight_decay=DECAY)
    schedule = get_linear_schedule_with_warmup(optimizer, WARM_UP, STEPS)
    losses = []
    for ids, targets in batches:
        loss = m(**padded(ids), labels=torch.tensor(targets)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    m.eval()
    with torch.no_grad():
        after = m(**padded(batches[0][0])).logits.tolist()
    print(problem, losses[0], losses[-1])
    return {"problem_type": problem, "labels": labels, "classifier": head, "losses": losses, "logits_after": after,
            "steps": [{"ids": ids, "targets": targets} for ids, targets in batches]}


versions = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "safetensors": safetensors.__version__}
content = {"versions": versions, "lr": LR, "weight_decay": DECAY, "clip": CLIP, "warm_up": WARM_UP,
           "cases": [train("regression", 1), train("multi_label_classification", 4)]}
(HERE / "objectives.json.gz").write_bytes(gzip.compress(json.dumps(content).encode(), 9, mtime=0))
