"""Times operator calls in PyTorch for bench/opcall.go: reads "CASE CALLS" a line, answers {"ns": ...} a line.

timeit's loop has the operands as locals and Python's collector off; each result is freed at once.
"""
import json
import sys
import timeit

import torch

torch.set_num_threads(1)

OPERANDS = {
    "x": torch.ones(8),
    "y": torch.ones(8),
    "w": torch.ones(8, requires_grad=True),
    "a": torch.ones(64, 64),
    "b": torch.ones(64, 64),
}
LOCALS = "; ".join(f"{name} = operands[{name!r}]" for name in OPERANDS)
CASES = {
    "add": "x + y",
    "add_grad": "w + y",
    "matmul": "a @ b",
    "chain": "((x + y) * x - y).relu().sum()",
}
TIMERS = {name: timeit.Timer(code, LOCALS, globals={"operands": OPERANDS}) for name, code in CASES.items()}

for line in sys.stdin:
    case, *calls = line.split()
    took = 0 if case == "ready" else TIMERS[case].timeit(int(calls[0])) * 1e9
    print(json.dumps({"ns": took}), flush=True)
