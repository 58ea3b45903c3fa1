"""Writes indexing.json: what PyTorch gives for t[...] read, written and added to, t = arange(2*3*4).view(2, 3, 4).

An index is a list: an int, "start:stop:step", ":", "...", "none", {"ints": [...], "shape": [...]} or {"mask": ...}.
Run with torch 2.11.0: python indexing.py
"""
import json
import os

import torch


def ints(*v, shape=None):
    return {"ints": list(v), "shape": [len(v)] if shape is None else shape}


def mask(*v, shape):
    return {"mask": [bool(b) for b in v], "shape": shape}


INDICES = [
    [0], [-1], [1, 2], [1, -3, 3], ["0:1"], [":", "1:"], [":", "-2:"], [":", ":", "::2"], [":", ":", "-3:-1"], ["5:9"],
    [":", "2:1"], ["...", 1], [0, "...", 2], ["...", "1:3"], ["...", "none"], ["none"], [0, "none", "1:"],
    ["none", ":", "none", 1], [":", 1, ":"], ["...", "none", 0], [1, 1, 1, "..."], ["..."], [":", "none", "..."],
    [":", ":", "::3"], [":", ":", "1:100:2"], [":", ":", "-100:2"],
    [ints(1, 0, 1)], [":", ints(2, 0)], [":", ":", ints(-1, 0)], [ints(0, 1, 1), ints(2, 0, 2)],
    [ints(0, 1), ":", ints(3, 1)], [":", ints(0, 2), ints(1, 3)], ["...", ints(0, 2)], [0, ints(1, 2)],
    [ints(0, 1, shape=[2, 1]), ints(0, 2)], [ints(0, 1), 1], [":", ints(0, 1, 2, 0, shape=[2, 2])],
    [ints(1), "none", "1:3"], ["none", ints(1, 0)], [":", "0:2", ints(1, 1)], [ints(shape=[0])],
    [ints(1, shape=[])], [":", ints(2, shape=[]), ":", ], [":", ints(1, shape=[]), ints(0, 3)],
    [ints(0, 1), ints(2, shape=[])], [ints(1, shape=[]), ":", ints(0, 1)],
    [mask(1, 0, shape=[2])], [":", mask(1, 0, 1, shape=[3])], [mask(1, 0, 0, 1, 1, 0, shape=[2, 3])],
    [mask(1, 0, 0, 1, 1, 0, shape=[2, 3]), 1], [mask(*[k % 5 == 0 for k in range(24)], shape=[2, 3, 4])],
    ["...", mask(0, 1, 1, 0, shape=[4])], [mask(0, 0, shape=[2])], [0, mask(1, 0, 1, shape=[3]), "1:"],
    [":", mask(*[k % 2 for k in range(12)], shape=[3, 4])], [mask(1, 0, shape=[2]), ":", ints(1)],
    [mask(1, 0, 0, 1, 1, 0, shape=[2, 3]), ints(0, 3, 1)], ["none", mask(1, 0, 0, 1, 1, 0, shape=[2, 3]), ints(0, 3, 1)],
    [mask(1, 0, 0, 1, 1, 0, shape=[2, 3]), "none", "1:"], [mask(1, 0, 0, 1, 1, 0, shape=[2, 3]), "...", "::2"],
    [mask(1, shape=[])], [mask(0, shape=[])], [0, mask(1, shape=[])],
]


def parse(ix):
    if isinstance(ix, dict):
        if "ints" in ix:
            return torch.tensor(ix["ints"], dtype=torch.int64).reshape(ix["shape"])
        return torch.tensor(ix["mask"], dtype=torch.bool).reshape(ix["shape"])
    if ix == "...":
        return ...
    if ix == "none":
        return None
    if isinstance(ix, str):
        return slice(*[int(p) if p else None for p in ix.split(":")])
    return ix


def out(t):
    return {"shape": list(t.shape), "values": t.reshape(-1).tolist()}


cases = []
for spec in INDICES:
    base = torch.arange(24.0).view(2, 3, 4)
    key = tuple(parse(ix) for ix in spec)
    read = base[key]
    scalar, full, lead = base.clone(), base.clone(), base.clone()
    scalar[key] = -1.0
    value = torch.arange(read.numel(), dtype=torch.float32).reshape(read.shape) * 10 + 100
    full[key] = value
    lead[key] = value.reshape(1, *value.shape)  # leading dimensions of 1 are dropped
    x = base.clone().requires_grad_()
    y = x[key]
    (y * (torch.arange(y.numel(), dtype=torch.float32).reshape(y.shape) + 1)).sum().backward()
    added = x.grad  # what index_put_ with accumulate makes of 1, 2, 3, ...
    cases.append({"index": spec, "read": out(read), "set_scalar": out(scalar), "set": out(full),
                  "set_leading": out(lead), "add": out(added)})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "indexing.json"), "w") as f:
    f.write('{"versions": {"torch": "%s"}, "cases": [\n' % torch.__version__)
    f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
print(len(cases), "cases")
