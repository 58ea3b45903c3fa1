"""Writes values.json: PyTorch's random numbers for a seed, and its conversions from float32 to the halves.

Run with torch 2.11.0: python values.py
"""
import hashlib
import json
import os
import struct

import torch

torch.manual_seed(7)
rand, randn, perm = torch.rand(5), torch.randn(20), torch.randperm(10)
coins = torch.bernoulli(torch.full((12,), 0.5))
state = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()

inf, nan = float("inf"), float("nan")
special = [0.0, -0.0, 1.0, -1.0, 1.0 / 3, inf, -inf, nan, 65504.0, 65519.99, 65520.0, 1e5, 6.1035e-5, 6e-5, 5.96e-8,
           2.98e-8, 2.9802322e-8, 2.9802326e-8, 8.94e-8, 1e-8, 1e-45, 3.4028235e38, 3.39e38, 3.3961775e38, 1.00390625,
           1.01171875, 1.00048828125, 1.00146484375, 2049.0, 2051.0, -0.1, 257.0, 259.0]
g = torch.Generator().manual_seed(1)
bits = torch.randint(-2**31, 2**31, (400,), generator=g).int()
values = torch.cat([torch.tensor(special), bits.view(torch.float32), torch.randn(100, generator=g)])
values = values[~values.isnan() | (torch.arange(values.numel()) < len(special))]


def raw(t, kind):
    return [v & 0xffff if kind is torch.int16 else v & 0xffffffff for v in t.view(kind).tolist()]


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "values.json"), "w") as f:
    json.dump({
        "versions": {"torch": torch.__version__},
        "random": {"rand": rand.tolist(), "randn": randn.tolist(), "randperm": perm.tolist(), "bernoulli": coins.tolist(),
                   "state_sha256": state},
        "halves": {"float32": raw(values, torch.int32), "float16": raw(values.half(), torch.int16),
                   "bfloat16": raw(values.bfloat16(), torch.int16)},
    }, f)
