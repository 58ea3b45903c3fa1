"""Makes ddp.json: what PyTorch's DistributedDataParallel makes of the network of loop.py on two ranks, for TestTogetherIsDDPs.

    python ddp.py > ddp.json

Each epoch is one step on all 28 samples, of which each rank has every second one, so that their order counts for nothing. The layers'
means stay as they are. Gradients go by Gloo.

DDP averages the ranks' gradients whatever their samples weigh. Where classes have weights, a rank's loss is therefore its sum over the
mean of both ranks' weights: the average is then the gradient of the weighted mean over all samples.

Run on Python 3.11 with torch 2.11.0 (make peers).
"""
import contextlib
import json

import torch
import torch.distributed
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from loop import STEPS, TEST, TRAIN, WEIGHTS, Layer, Net, samples
from ranks import on_ranks

RANKS, LR, DECAY = 2, 0.01, 0.01


def train(rank, parts=1, weights=None, clip=1.0):
    Layer.still = True
    net = Net().train()
    ddp = DistributedDataParallel(net)
    x, y = samples(TRAIN, 3)
    x, y = x[rank::RANKS], y[rank::RANKS]
    test_x, test_y = samples(TEST, 5)
    decay = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}], lr=LR)
    total = torch.tensor(float(len(y)) if weights is None else weights[y].sum().item())
    torch.distributed.all_reduce(total)
    total /= RANKS  # what the ranks' average divides a sum by
    losses, tested = [], []
    for _ in range(STEPS):
        whole = torch.zeros(())
        pieces = list(zip(x.chunk(parts), y.chunk(parts)))
        for i, (px, py) in enumerate(pieces):
            with ddp.no_sync() if i < len(pieces) - 1 else contextlib.nullcontext():
                part = F.cross_entropy(ddp(px), py, weight=weights, reduction="sum") / total
                part.backward()
            whole += part.detach()
        torch.distributed.all_reduce(whole)
        losses.append(whole.item() / RANKS)
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            net.eval()
            tested.append(F.cross_entropy(net(test_x), test_y).item())
            net.train()
    return {"losses": losses, "tested": tested}


CASES = {
    "plain": {},
    "accumulated": dict(parts=2),
    "clipped": dict(clip=0.05),
    "class weights": dict(weights=WEIGHTS),
    "class weights, accumulated": dict(weights=WEIGHTS, parts=2),
}


def run(rank):
    return {name: train(rank, **c) for name, c in CASES.items()}


if __name__ == "__main__":
    print(json.dumps({"torch": torch.__version__, "cases": on_ranks(run, RANKS, timeout=120)}))
