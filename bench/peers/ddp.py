"""Trains under PyTorch's DistributedDataParallel on the CPU, for bench/dist.go.

    python -m torch.distributed.run --standalone --nproc-per-node 2 ddp.py text MODEL GROUND_TRUTH.txt EPOCHS BATCH
    python -m torch.distributed.run --standalone --nproc-per-node 2 ddp.py pictures FOLDER EPOCHS BATCH

text is the top two layers, pooler and head of the demo's MiniLM on the demo's rows, batches of like length; pictures is all of a
ResNet-18. BATCH is that of all ranks together, of which each has its share. One thread a rank. DDP is at its best: what is frozen
requires no gradient, static_graph, gradient_as_bucket_view; pictures are decoded before the clock starts, and channels last. Rank 0
prints the seconds of an epoch, from the first to the last.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0 (make peers).
"""
import json
import pathlib
import random
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

CLIP, LABELS = 1.0, 2


def texts(folder, rows_file):
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForSequenceClassification, logging

    logging.set_verbosity_error()
    rows = []
    for line in open(rows_file, encoding="utf-8", errors="replace", newline="\n"):
        p = line.rstrip("\r\n").split("\t")
        if len(p) >= 3:
            rows.append((p[2], int(float(p[1]) > 0)))
    rows = [r for i, r in enumerate(rows) if i % 10]
    tok = Tokenizer.from_file(folder + "/tokenizer.json")
    tok.no_padding()
    tok.enable_truncation(128)
    rows = [(e.ids, y) for e, (_, y) in zip(tok.encode_batch([t for t, _ in rows]), rows)]

    config = BertConfig(**json.loads((pathlib.Path(folder) / "config.json").read_text()) | {"num_labels": LABELS})
    m = BertForSequenceClassification(config)
    m.bert.load_state_dict({k.removeprefix("bert."): v for k, v in load_file(folder + "/model.safetensors").items()}, strict=False)
    for name, p in m.bert.named_parameters():
        p.requires_grad = name.startswith(("encoder.layer.4.", "encoder.layer.5.", "pooler."))

    def load(batch):
        longest = max(len(rows[i][0]) for i in batch)
        ids = torch.tensor([rows[i][0] + [0] * (longest - len(rows[i][0])) for i in batch])
        mask = torch.tensor([[1] * len(rows[i][0]) + [0] * (longest - len(rows[i][0])) for i in batch])
        return dict(input_ids=ids, attention_mask=mask), torch.tensor([rows[i][1] for i in batch])

    return m.train(), load, [len(ids) for ids, _ in rows], lambda p: torch.optim.AdamW(p, lr=2e-4, weight_decay=0.01)


def pictures(folder):
    import torchvision
    from torchvision.transforms import functional as T

    files = torchvision.datasets.ImageFolder(folder)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = torch.stack([T.normalize(T.to_tensor(np.array(m)), mean, std) for m, _ in files])
    x, y = x.contiguous(memory_format=torch.channels_last), torch.tensor(files.targets)
    m = torchvision.models.resnet18(weights=None, num_classes=len(files.classes)).to(memory_format=torch.channels_last)
    return m.train(), lambda batch: (x[batch], y[batch]), [1] * len(y), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-4)


def main():
    torch.set_num_threads(1)
    kind, *given, epochs, size = sys.argv[1:]
    epochs, size = int(epochs), int(size)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    model, load, lengths, optimizer = (texts if kind == "text" else pictures)(*given)
    ddp = DistributedDataParallel(model, static_graph=True, gradient_as_bucket_view=True)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer(params)
    rng = random.Random(0)  # the same on all ranks
    loss = torch.zeros(())
    dist.barrier()
    start = time.perf_counter()
    for _ in range(epochs):
        order = list(range(len(lengths)))
        rng.shuffle(order)
        order.sort(key=lambda i: lengths[i])
        starts = list(range(0, len(order), size))
        rng.shuffle(starts)
        for k in starts:
            mine = order[k:k + size][rank::world]
            x, y = load(mine)
            loss = F.cross_entropy(ddp(**x).logits if kind == "text" else ddp(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, CLIP)
            optimizer.step()
            optimizer.zero_grad()
    dist.barrier()
    took = time.perf_counter() - start
    if rank == 0:
        print(f"ddp {kind}: {took / epochs:.3f} s an epoch, {len(lengths)} samples, last loss {loss.item():.4f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
