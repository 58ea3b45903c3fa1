"""Writes format.json: what PyTorch prints for tensors that torch/format_test.go builds again from the same description.

Run with torch 2.11.0: python format.py
"""
import base64
import json
import os
import platform

import torch

DTYPES = {n: getattr(torch, n) for n in
          "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()}
inf, nan = float("inf"), float("nan")
cases = []


def finish(name, t, case, permute=None, grad=False, then=None):
    if permute is not None:
        t = t.permute(permute)
        case["permute"] = permute
    if grad:
        t = t.requires_grad_()
        case["requires_grad"] = True
    if then is not None:
        t = {"add": lambda x: x + x, "mul": lambda x: x * x, "sum": lambda x: x.sum(),
             "view": lambda x: x.view(-1), "relu": torch.relu, "exp": torch.exp, "mean": torch.mean,
             "slice": lambda x: x[1:], "detach": lambda x: x.detach(), "t": lambda x: x.t(),
             "softmax": lambda x: x.softmax(-1), "clone": lambda x: x.clone()}[then](t)
        case["then"] = then
    cases.append({"name": name, **case, "want": repr(t)})


def values(name, data, dtype="float32", shape=None, **how):
    """A tensor given by its bytes."""
    t = torch.tensor(data, dtype=torch.float64 if DTYPES[dtype].is_floating_point else None).to(DTYPES[dtype])
    if shape is not None:
        t = t.reshape(shape)
    raw = t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
    finish(name, t, {"dtype": dtype, "shape": list(t.shape), "data": base64.b64encode(raw).decode()}, **how)


def ramp(name, shape, scale=1.0, offset=0.0, dtype="float32", **how):
    """Element i is i*scale + offset, computed in float64."""
    n = 1
    for s in shape:
        n *= s
    t = (torch.arange(n, dtype=torch.float64) * scale + offset).to(DTYPES[dtype]).reshape(shape)
    finish(name, t, {"dtype": dtype, "shape": shape, "scale": scale, "offset": offset}, **how)


g = torch.Generator().manual_seed(0)


def noise(*shape, scale=1.0):
    return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale).tolist()


# dtypes
for d in DTYPES:
    values(f"{d} vector", [0, 1, 1, 0, 1], d)
    values(f"{d} scalar", 1, d)
    values(f"{d} empty", [], d)
    values(f"{d} empty matrix", [], d, shape=[0, 3])
for d in ("float16", "bfloat16", "float64"):
    values(f"{d} noise", noise(3, 4), d)
    values(f"{d} wide", [1e-3, 1.0, 30000.0], d)
for d, lo, hi in (("int8", -128, 127), ("int16", -32768, 32767), ("int32", -2**31, 2**31 - 1),
                  ("int64", -2**63, 2**63 - 1), ("uint8", 0, 255)):
    values(f"{d} limits", [lo, 0, 7, hi], d)

# scalars
for v in (0.0, -0.0, 1.0, -1.5, 3.14159265, 1e-5, 1e-4, 1.00001e-4, 123456789.0, 1e8, 1.0001e8, 1e30, -1e-30, 1e-45,
          nan, inf, -inf, 0.99995, 0.00005, 2.5, 12345.678):
    values(f"scalar {v!r}", v)
values("float64 scalar 1e-320", 1e-320, "float64")
values("float64 scalar 1e308", 1e308, "float64")
values("float64 0.1", [0.1, 0.2], "float64")

# notation and widths
values("whole", [1.0, 2.0, 30.0])
values("whole negative", [-1.0, 2.0, -300.0])
values("whole with nan", [1.0, nan, 3.0])
values("whole with inf", [1.0, inf, -inf, 100.0])
values("only nan and inf", [nan, inf, -inf])
values("zeros of both signs", [0.0, -0.0, 0.0])
values("negative zero among whole", [-0.0, 12.0, 3.0])
values("negative zero among fractions", [-0.0, 0.5, -0.25])
values("whole scientific", [1.0, 2.0, 2000.0])
values("whole at the ratio", [1.0, 1000.0])
values("whole huge", [1.0e9, 2.0e9])
values("tiny", [1e-10, 2e-10])
values("tiny and one", [1e-10, 1.0, 0.0])
values("scientific with nan", [1e-10, nan, inf, -inf, 0.0, -0.0])
values("subnormal", [1e-45, 1e-40])
values("mixed widths", [0.5, -10.25, 100.125, 7.0])
values("rounds half to even", [0.00005, 0.00015, 0.12345, 0.12355, 2.00005])
values("rounds up a digit", [9.99995, 0.5, 1.0])
values("fixed with inf", [0.5, inf, nan, -inf])
values("ratio just under", [0.9, 899.0])
values("ratio just over", [0.9, 901.0])
values("three-digit exponent", [1e-200, 1e200], "float64")

# lines
values("one line full", noise(7))
values("two lines", noise(9))
values("many lines", noise(40))
values("long ints", [10**k for k in range(18)], "int64")
values("bools over lines", [k % 3 == 0 for k in range(40)], "bool")
values("wide elements", [1.0e15 + k for k in range(8)], "float64")
ramp("exactly the threshold", [1000])
ramp("over the threshold", [1001])
ramp("over the threshold, ints", [2000], dtype="int64")
ramp("over the threshold, fractions", [1500], scale=0.37, offset=-200)
ramp("over the threshold, scientific", [1200], scale=1e-3)
ramp("bools summarised", [1002], dtype="bool")

# many dimensions
values("matrix", noise(3, 4))
values("matrix of one", noise(1, 1))
values("wide matrix", noise(2, 12))
ramp("cube", [2, 3, 4])
ramp("four dimensions", [2, 2, 2, 3], scale=0.5)
ramp("five dimensions", [2, 1, 2, 1, 2], dtype="int32")
ramp("six dimensions of one", [1, 1, 1, 1, 1, 1])
ramp("summarised matrix", [50, 40])
ramp("summarised tall matrix", [700, 2], scale=0.25)
ramp("summarised flat matrix", [2, 700], scale=-0.25)
ramp("summarised with short edges", [6, 400])
ramp("summarised with edges of seven", [7, 200])
ramp("summarised cube", [20, 20, 20], scale=0.01)
ramp("summarised four dimensions", [3, 10, 2, 30], dtype="int64")
ramp("summarised bfloat16", [100, 100], scale=0.01, dtype="bfloat16")
ramp("transposed", [3, 4], permute=[1, 0])
ramp("summarised permuted", [10, 20, 30], permute=[2, 0, 1], dtype="int64")
values("empty with ones", [], shape=[1, 0, 1])
values("empty cube", [], "int64", shape=[2, 0, 3])
values("empty that needs a gradient", [], shape=[0, 3], grad=True)

# history
values("leaf", [1.0, 2.0], grad=True)
values("leaf float64", [1.0, 2.0], "float64", grad=True)
values("leaf scalar", 2.5, grad=True)
for then in ("add", "mul", "sum", "view", "relu", "exp", "mean", "slice", "detach", "softmax", "clone"):
    values("after " + then, noise(3, 3), grad=True, then=then)
ramp("after t", [2, 3], grad=True, then="t")
values("suffixes over lines", noise(7), "float64", grad=True, then="softmax")
for n in (3, 4, 5, 6, 7):
    values(f"suffix at the margin, {n}", noise(n), "float64", grad=True)
    values(f"suffix at the margin, {n} ints", [10**(k + 5) for k in range(n)], "int32")
ramp("summarised with history", [40, 40], grad=True, then="add")

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "format.json"), "w") as f:
    json.dump({"versions": {"torch": torch.__version__, "python": platform.python_version()}, "cases": cases}, f,
              indent=0)
print(len(cases), "cases")
