"""Writes convolution.json: what PyTorch's convolutions, batch norms and pools give, forward and backward, and how it draws
convolutions, for torch/nn/conv_test.go. Tensors are stored as generate.py does.

Run on Python 3.11 with torch 2.11.0: python convolution.py
"""
import base64
import json
import pathlib
import platform

import torch
from torch import nn

g = torch.Generator().manual_seed(0)
cases = []


def stored(t):
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}


def noise(*shape):
    return torch.randn(*shape, generator=g)


def case(layer, name, module, x, passes=1, channels_last=False, autocast=False, **args):
    """Runs the module on x as often as passes says and goes back from the last with a random gradient."""
    for p in module.parameters():
        torch.nn.init.normal_(p, generator=g)
    given = {"input": x} | {k: v.clone() for k, v in module.state_dict().items()}
    if channels_last:
        x, module = x.to(memory_format=torch.channels_last), module.to(memory_format=torch.channels_last)
    x = x.clone(memory_format=torch.preserve_format).requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for _ in range(passes):
            y = module(x)
    assert not channels_last or y.is_contiguous(memory_format=torch.channels_last)
    dy = noise(*y.shape).to(y.dtype)
    y.backward(dy)
    out = {"y": stored(y), "d_input": stored(x.grad)}
    out |= {"d_" + k: stored(p.grad) for k, p in module.named_parameters()}
    out |= {k: stored(b) for k, b in module.named_buffers()}
    cases.append({"layer": layer, "name": name, "out": out, "in": {k: stored(v) for k, v in given.items()} | {"d_y": stored(dy)},
                  "args": args | dict(passes=passes, channels_last=int(channels_last), autocast=int(autocast))})


def conv(name, cin, cout, kernel, size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=True, **how):
    pair = lambda key, v: {key + "_h": v[0], key + "_w": v[1]}
    module = nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias)
    case("conv", name, module, noise(2, cin, *size), groups=groups, **pair("stride", stride), **pair("padding", padding), **pair("dilation", dilation), **how)


conv("3x3", 3, 4, 3, (6, 5))
conv("7x7, stride 2, padding 3, no bias", 3, 4, 7, (9, 10), (2, 2), (3, 3), bias=False)
conv("1x1, stride 2", 6, 5, 1, (5, 5), (2, 2))
conv("groups", 6, 9, 3, (5, 4), padding=(1, 1), groups=3)
conv("depthwise", 5, 5, 3, (6, 6), (2, 2), (1, 1), groups=5)
conv("dilation", 2, 3, 3, (8, 8), padding=(2, 2), dilation=(2, 2))
conv("oblong", 2, 3, (1, 3), (6, 9), (1, 2), (0, 2), (1, 3))
conv("channels-last", 3, 4, 3, (6, 5), (2, 2), (1, 1), bias=False, channels_last=True)
conv("channels-last groups", 8, 8, 3, (6, 5), padding=(1, 1), groups=4, channels_last=True)
conv("autocast", 3, 4, 3, (6, 5), autocast=True)


def norm(name, module, x, training, **how):
    module.train(training)
    if not training:
        module.running_mean.copy_(noise(module.num_features))
        module.running_var.copy_(noise(module.num_features).abs() + 0.3)
    case("batchnorm", name, module, x, training=int(training), eps=module.eps, momentum=module.momentum, **how)


images = noise(3, 4, 5, 6) * 2 + 1
images[:, 2] = 0.75  # no variance
for training in (True, False):
    when = "training" if training else "evaluation"
    norm(f"1d {when}", nn.BatchNorm1d(5), noise(4, 5), training, passes=3)
    norm(f"2d {when}", nn.BatchNorm2d(4), images, training, passes=3)
    norm(f"2d eps, momentum {when}", nn.BatchNorm2d(4, eps=1e-3, momentum=0.01), images, training, passes=5)
    norm(f"2d channels-last {when}", nn.BatchNorm2d(4), images, training, passes=2, channels_last=True)
    norm(f"2d autocast {when}", nn.BatchNorm2d(4), images, training, autocast=True)
    norm(f"3d {when}", nn.BatchNorm3d(2), noise(2, 2, 3, 2, 2), training)


def pool(layer, name, module, size, **args):
    case(layer, name, module, noise(2, 3, *size), **args)
    case(layer, name + " channels-last", module, noise(2, 3, *size), channels_last=True, **args)


pool("maxpool", "3, stride 2, padding 1", nn.MaxPool2d(3, 2, 1), (7, 8), kernel=3, stride=2, padding=1)
pool("maxpool", "2", nn.MaxPool2d(2), (5, 6), kernel=2)
pool("maxpool", "3, ceil", nn.MaxPool2d(3, 2, ceil_mode=True), (6, 6), kernel=3, stride=2, ceil=1)
pool("avgpool", "2", nn.AvgPool2d(2), (5, 6), kernel=2)
pool("avgpool", "3, padding", nn.AvgPool2d(3, 2, 1), (7, 6), kernel=3, stride=2, padding=1)
pool("avgpool", "3, padding not counted, ceil", nn.AvgPool2d(3, 2, 1, True, False), (7, 6), kernel=3, stride=2, padding=1, ceil=1, exclude=1)
pool("adaptive", "1x1", nn.AdaptiveAvgPool2d(1), (5, 6), h=1, w=1)
pool("adaptive", "3x2", nn.AdaptiveAvgPool2d((3, 2)), (7, 5), h=3, w=2)


def drawn(make):
    torch.manual_seed(7)
    return make()


grouped = drawn(lambda: nn.Conv2d(6, 10, 3, groups=2))
init = {"conv.weight": grouped.weight, "conv.bias": grouped.bias,
        "kaiming_normal": drawn(lambda: nn.init.kaiming_normal_(torch.empty(10, 3, 3, 3), mode="fan_out", nonlinearity="relu")),
        "kaiming_uniform": drawn(lambda: nn.init.kaiming_uniform_(torch.empty(10, 3, 3, 3), nonlinearity="relu"))}
text = ",\n".join(json.dumps(c) for c in cases)
pathlib.Path(__file__).with_name("convolution.json").write_text(f"""{{"versions": {json.dumps({"python": platform.python_version(), "torch": torch.__version__})},
"init": {json.dumps({k: stored(v) for k, v in init.items()})},
"cases": [
{text}
]}}
""")
print(len(cases), "cases")
