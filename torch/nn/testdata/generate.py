"""Writes golden.json and halves.safetensors: what PyTorch's layers give, forward and backward, for torch/nn's tests.

Tensors in JSON are {dtype, shape, data}, data being the elements, little-endian, in base64.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, safetensors 0.8.0: python generate.py
"""
import base64
import json
import pathlib
import platform

import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers.activations import ACT2FN

HERE = pathlib.Path(__file__).parent
g = torch.Generator().manual_seed(0)
cases = []


def stored(t):
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}


def case(layer, name, f, inputs, **args):
    """Calls f(inputs) and goes back with a random gradient; "d_" + name is the gradient of an input."""
    leaves = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in inputs.items()}
    y = f(**leaves)
    dy = torch.randn(y.shape, generator=g)
    y.backward(dy)
    out = {"y": stored(y)} | {"d_" + k: stored(v.grad) for k, v in leaves.items() if v.grad is not None}
    cases.append({"layer": layer, "name": name, "args": args, "in": {k: stored(v) for k, v in inputs.items()} | {"d_y": stored(dy)}, "out": out})


def noise(*shape):
    return torch.randn(*shape, generator=g)


F = torch.nn.functional
case("linear", "bias", F.linear, dict(input=noise(2, 3, 4), weight=noise(5, 4), bias=noise(5)))
case("linear", "no bias", F.linear, dict(input=noise(3, 4), weight=noise(2, 4)))
case("linear", "vector", F.linear, dict(input=noise(4), weight=noise(2, 4), bias=noise(2)))

ids = torch.tensor([[0, 3, 3, 6], [2, 2, 5, 0]])
for padding in (None, 2):
    case("embedding", f"padding {padding}", lambda weight, input: F.embedding(input, weight, padding), dict(weight=noise(7, 5), input=ids),
         padding=-1 if padding is None else padding)

rows = noise(2, 3, 6)
rows[0, 1] = 2.5  # no variance
rows[1, 2] = noise(6) * 1e-4 + 100
for eps in (1e-5, 1e-12):
    case("layernorm", f"eps {eps}", lambda input, weight, bias: F.layer_norm(input, [6], weight, bias, eps),
         dict(input=rows, weight=noise(6), bias=noise(6)), eps=eps)

x = torch.cat([torch.linspace(-6, 6, 49), torch.tensor([-100.0, -30, -0.0, 1e-8, 30, 100])])
for name in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "sigmoid"):
    case("activation", name, ACT2FN[name], dict(input=x))

logits, classes = noise(6, 4) * 3, torch.tensor([0, 3, 1, 1, 2, 0])
ignored = torch.tensor([0, -100, 1, -100, 2, 0])
wide = noise(3, 5) * 100
for smoothing in (0.0, 0.1, 0.5, 1.0):
    loss = lambda logits, classes: F.cross_entropy(logits, classes, label_smoothing=smoothing)
    case("crossentropy", f"smoothing {smoothing}", loss, dict(logits=logits, classes=classes), smoothing=smoothing)
    case("crossentropy", f"smoothing {smoothing}, ignored rows", loss, dict(logits=logits, classes=ignored), smoothing=smoothing)
    case("crossentropy", f"smoothing {smoothing}, wide", loss, dict(logits=wide, classes=torch.tensor([4, 0, 2])), smoothing=smoothing)

torch.manual_seed(7)
linear = torch.nn.Linear(12, 10)
torch.manual_seed(7)
embedding = torch.nn.Embedding(9, 8)
torch.manual_seed(7)
xavier = torch.nn.init.xavier_uniform_(torch.empty(6, 11))
init = {"linear.weight": stored(linear.weight), "linear.bias": stored(linear.bias), "embedding.weight": stored(embedding.weight), "xavier": stored(xavier)}

# Values that another dtype cannot hold come as float32 would have them.
values = torch.tensor([0.0, -0.0, 1.0, -2.5, 3.140625, 65504.0, 6.103515625e-05, 1e-7, float("inf"), float("-inf")], dtype=torch.float64)
halves = {"bf16": values.to(torch.bfloat16), "f16": values.to(torch.float16), "f64": values * 1.1, "f32": values.float(),
          "i64": torch.tensor([-3, 0, 1 << 40]), "u8": torch.tensor([0, 7, 255], dtype=torch.uint8), "bool": torch.tensor([True, False]),
          "wide_bf16": noise(4, 6).to(torch.bfloat16)}
save_file(halves, HERE / "halves.safetensors")

(HERE / "halves.safetensors").chmod(0o644)
versions = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__, "safetensors": safetensors.__version__}
text = ",\n".join(json.dumps(c) for c in cases)
(HERE / "golden.json").write_text(f"""{{"versions": {json.dumps(versions)},
"init": {json.dumps(init)},
"as_float32": {json.dumps({k: stored(v.to(torch.float32)) for k, v in halves.items()})},
"cases": [
{text}
]}}
""")
print(len(cases), "cases")
