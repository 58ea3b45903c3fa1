"""Writes golden.json: what torch.optim, clip_grad_norm_, transformers' schedules and OneCycleLR give, for torch/optim's
tests. Parameters are float64, so that the goldens have no rounding of their own worth the name.

Tensors are {dtype, shape, data}, data being the elements, little-endian, in base64; null stands for no gradient.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0: python generate.py
"""
import base64
import json
import math
import pathlib
import platform
import warnings

import torch
import transformers

warnings.simplefilter("ignore")  # schedules that are stepped without their optimizer
HERE = pathlib.Path(__file__).parent
STEPS = 30
g = torch.Generator().manual_seed(0)
SHAPES = [(3, 4), (5,), (2, 3, 2), ()]
start = [torch.randn(s, generator=g, dtype=torch.float64) for s in SHAPES]
# Gradients of very different sizes; the second parameter has none at some steps, the third none before step 4, and the
# fourth's are now and then zero.
grads = [[torch.randn(s, generator=g, dtype=torch.float64) * 10.0 ** (k - 2) for k, s in enumerate(SHAPES)] for _ in range(STEPS)]
for i in range(STEPS):
    if i % 3 == 1:
        grads[i][1] = None
    if i < 4:
        grads[i][2] = None
    if i % 5 == 2:
        grads[i][3].zero_()


def stored(t):
    if t is None:
        return None
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}


def steps(name, optimizer, groups, schedule=None, **options):
    """groups are {params: positions, lr, weight_decay}; schedule gives a factor on the rate."""
    params = [torch.nn.Parameter(p.clone()) for p in start]
    o = getattr(torch.optim, optimizer)([{**group, "params": [params[k] for k in group["params"]]} for group in groups], foreach=False, **options)
    after = []
    for i in range(STEPS):
        factor = schedule[i] if schedule else 1.0
        for p, grad in zip(params, grads[i]):
            p.grad = None if grad is None else grad.clone()
        for group, given in zip(o.param_groups, groups):
            group["lr"] = given["lr"] * factor
        o.step()
        after.append(torch.cat([p.detach().reshape(-1) for p in params]))
    return {"name": name, "optimizer": optimizer, "groups": groups, "schedule": schedule or [1.0] * STEPS, "options": options, "after": stored(torch.stack(after))}


def all_in_one(lr, decay):
    return [dict(params=[0, 1, 2, 3], lr=lr, weight_decay=decay)]


TWO = [dict(params=[3, 0], lr=1e-2, weight_decay=0.1), dict(params=[1, 2], lr=1e-3, weight_decay=0.0)]
RAMP = [min(1, i / 5) * (1 - i / STEPS) for i in range(STEPS)]
runs = [
    steps("defaults", "AdamW", all_in_one(1e-3, 0.0)),
    steps("weight decay", "AdamW", all_in_one(1e-2, 0.3)),
    steps("groups", "AdamW", TWO),
    steps("amsgrad", "AdamW", TWO, amsgrad=True),
    steps("betas and eps", "AdamW", TWO, betas=(0.8, 0.95), eps=1e-3),
    steps("beta1 of zero", "AdamW", TWO, betas=(0.0, 0.99)),
    steps("schedule", "AdamW", TWO, RAMP),
    steps("plain", "SGD", all_in_one(1e-2, 0.0)),
    steps("weight decay", "SGD", all_in_one(1e-2, 0.3)),
    steps("momentum", "SGD", TWO, momentum=0.9),
    steps("dampening", "SGD", TWO, momentum=0.9, dampening=0.4),
    steps("nesterov", "SGD", TWO, momentum=0.8, nesterov=True),
    steps("schedule", "SGD", TWO, RAMP, momentum=0.9),
]

inf, nan = math.inf, math.nan


def clip(name, most, *values):
    params = [torch.nn.Parameter(torch.zeros(len(v) if v else 2)) for v in values]
    for p, v in zip(params, values):
        p.grad = torch.tensor(v) if v else None
    norm = torch.nn.utils.clip_grad_norm_(params, most)
    before = [stored(torch.tensor(v)) if v else None for v in values]
    return {"name": name, "max": most, "grads": before, "norm": stored(norm), "clipped": [stored(p.grad) for p in params]}


clips = [
    clip("above", 1.0, [3.0, 4.0], [12.0]),
    clip("below", 20.0, [3.0, 4.0], [12.0]),
    clip("just at the norm", 13.0, [3.0, 4.0], [12.0]),
    clip("some without", 0.5, [3.0, 4.0], None, [12.0], None),
    clip("zero", 1.0, [0.0, 0.0], [0.0]),
    clip("zero, maximum zero", 0.0, [0.0, 0.0], [0.0]),
    clip("maximum zero", 0.0, [3.0, 4.0], [12.0]),
    clip("inf", 1.0, [inf, 4.0], [12.0]),
    clip("-inf", 1.0, [3.0, 4.0], [-inf]),
    clip("nan", 1.0, [nan, 4.0], [12.0]),
    clip("tiny", 1e-3, [1e-30, 0.0], [1e-25]),
    clip("smaller than the guard", 1e-9, [1e-8, 0.0], [2e-8]),
    clip("its square overflows", 1.0, [1e20, 1e20], [1.0]),
]


def rates(make, n):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(o)
    out = []
    for i in range(n):
        if i > 0:
            schedule.step()
        out.append(float(schedule.get_last_lr()[0]))
    return out


schedules = []
for total in (1, 2, 3, 7, 30, 100):
    for warm_up in sorted({0, 1, 3, 10, total - 1, total, total + 5}):
        for name, make in (("linear", lambda o: transformers.get_linear_schedule_with_warmup(o, warm_up, total)),
                           ("cosine", lambda o: transformers.get_cosine_schedule_with_warmup(o, warm_up, total)),
                           ("constant", lambda o: transformers.get_constant_schedule_with_warmup(o, warm_up))):
            schedules.append({"name": name, "warm_up": warm_up, "total": total, "rates": rates(make, total + 1)})
cycles = []
for total in (1, 2, 3, 7, 10, 30, 100, 997):
    for share in (0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 1.0) if total < 900 else (0.3,):
        try:
            cycles.append({"share": share, "total": total, "rates": rates(
                lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total, pct_start=share, cycle_momentum=False), total)})
        except ZeroDivisionError:
            print("OneCycleLR divides by zero:", share, total)

versions = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}
lines = {"versions": versions, "start": [stored(p) for p in start], "grads": [[stored(x) for x in step] for step in grads],
         "runs": runs, "clips": clips, "schedules": schedules, "cycles": cycles}
list_of = lambda v: "[\n" + ",\n".join(map(json.dumps, v)) + "]" if isinstance(v, list) else json.dumps(v)
(HERE / "golden.json").write_text("{" + ",\n".join(f"{json.dumps(k)}: {list_of(v)}" for k, v in lines.items()) + "}\n")
print(len(runs), "runs", len(clips), "clips", len(schedules), "schedules", len(cycles), "cycles")
