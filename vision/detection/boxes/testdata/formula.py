"""Numbers that the scripts beside the tests, and the tests in Go (formula_test.go), make alike, so that no inputs are stored."""
import math

import numpy as np
import torch


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


def numbers(key, shape, middle, spread):
    """float32 numbers, even over [middle - spread, middle + spread)."""
    s = ((words(key, math.prod(shape)) >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32)
    return torch.from_numpy(s * np.float32(spread / 2**23) + np.float32(middle)).reshape(shape)


def whole(key, n, below):
    """Whole numbers from 0 to below - 1."""
    return torch.from_numpy((words(key, n) % np.uint64(below)).astype(np.int64))


def boxes(key, n, extent, largest):
    """n boxes within extent, with sides of up to largest."""
    x = numbers(key, (n, 2), 0.5, 0.5) * (extent - largest)
    size = numbers(key + ".size", (n, 2), 0.5, 0.5) * largest + 0.01
    return torch.cat([x, x + size], 1)
