"""What the scripts that make goldens share: inputs that they and the tests in Go make alike (torchtest.Words, Numbers), so that
they need not be stored, and what is stored of tensors (torchtest.Digest, Stored).

N folders below the project's, a script imports it by

    sys.path.append(str(pathlib.Path(__file__).resolve().parents[N] / "torch/torchtest/testdata"))
    from goldens import numbers, words
"""
import base64
import math

import numpy as np
import torch

SAMPLES = 8


def words(key, n, start=0):
    """n 64-bit words: splitmix64 from the FNV-1a hash of key on."""
    seed = 0xCBF29CE484222325
    for b in key.encode():
        seed = (seed ^ b) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(start + 1, start + n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def numbers(key, shape, middle, spread, alternate=False):
    """float32 numbers, even over [middle - spread, middle + spread); every other one negated, where alternate."""
    n, step, out = math.prod(shape), 1 << 22, []
    for start in range(0, max(n, 1), step):
        s = ((words(key, min(step, n - start), start) >> np.uint64(40)).astype(np.int32) - 2**23).astype(np.float32)
        v = s * np.float32(spread / 2**23) + np.float32(middle)
        if alternate:
            v[1::2] *= -1
        out.append(v)
    return torch.from_numpy(np.concatenate(out)).reshape(shape)


def whole(key, n, below):
    """Whole numbers from 0 to below - 1."""
    return torch.from_numpy((words(key, n) % np.uint64(below)).astype(np.int64))


def digest(key, t):
    """Sum, L2 norm, largest magnitude, and sampled elements, in float64."""
    flat = t.detach().double().reshape(-1)
    return torch.cat([torch.stack([flat.sum(), flat.norm(), flat.abs().max()]), flat[whole("sample " + key, SAMPLES, len(flat))]])


def stored(t):
    """A tensor as a golden file holds it whole."""
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}
