"""Makes loop.json: what PyTorch makes of the options of a training loop, for TestLoopIsPyTorchs.

    python loop.py > loop.json

The network is that of net_test.go on vectors: four layers x + gelu(linear(x - mean)), whose mean moves in training as a batch norm's,
and a linear head. Weights and samples are sines, the same in Go. Each epoch is one step on all 28 samples, so that their order counts for nothing.
Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0 and transformers 5.17.0 (make peers).
"""
import json
import math

import torch
import torch.nn.functional as F
import transformers
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import sigmoid_focal_loss

WIDTH, TRAIN, TEST, STEPS = 8, 28, 20, 30
torch.set_num_threads(1)


def sines(shape, salt, scale):
    n = math.prod(shape)
    return (scale * torch.sin(0.7 * torch.arange(n, dtype=torch.float64) + salt)).float().reshape(shape)


class Layer(torch.nn.Module):
    def __init__(self, i):
        super().__init__()
        self.linear = torch.nn.Linear(WIDTH, WIDTH)
        self.linear.weight.data = sines((WIDTH, WIDTH), 1 + i, 0.5)
        self.linear.bias.data = sines((WIDTH,), 11 + i, 0.1)
        self.register_buffer("running_mean", sines((WIDTH,), 21 + i, 0.1))

    still = False  # whether the mean stays as it is

    def forward(self, x):
        if self.training and not self.still:
            with torch.no_grad():
                self.running_mean.lerp_(x.float().mean(0), 0.1)
        return x + F.gelu(self.linear(x - self.running_mean))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(*(Layer(i) for i in range(4)))
        self.head = torch.nn.Linear(WIDTH, 2)
        self.head.weight.data = sines((2, WIDTH), 31, 0.5)
        self.head.bias.data = sines((2,), 41, 0.1)

    def forward(self, x):
        return self.head(self.layers(x))


def samples(n, salt):
    return sines((n, WIDTH), salt, 1.5), torch.tensor([1 if (7 * i) % 5 < 2 else 0 for i in range(n)])


def hot(classes):
    return F.one_hot(classes, 2).float()


WEIGHTS = torch.tensor([0.7, 2.5])
cross_entropy = F.cross_entropy


def focal(logits, classes, gamma=2.0, weight=None):
    logp = logits.float().log_softmax(1)
    return F.nll_loss((1 - logp.exp()) ** gamma * logp, classes, weight=weight)


def train(loss=cross_entropy, dtype=None, parts=None, total=None, ema=None, schedule=None, plateau=None, sgd=False, lr=0.01):
    net = Net().train()
    for layer in net.layers:
        layer.still = parts is not None  # else it would depend on which samples are in which part
    x, y = samples(TRAIN, 3)
    test_x, test_y = samples(TEST, 5)
    if sgd:
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    else:
        decay = [p for p in net.parameters() if p.dim() > 1]
        plain = [p for p in net.parameters() if p.dim() == 1]
        optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=lr)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True) if ema else None
    if average:  # as Thaw's, torchvision's and timm's, the average begins as the weights before the first step
        average.n_averaged.fill_(1)
    scheduler = schedule(optimizer) if schedule else None
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    losses, tested, rates = [], [], []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        whole = 0.0
        pieces = [(x, y)] if parts is None else list(zip(x.split(parts), y.split(parts)))
        for px, py in pieces:
            with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                part = loss(net(px), py)
            share = 1.0 if parts is None else (len(py) / len(y) if total is None else (total(py) / total(y)).item())
            whole += part.item() * share
            scaler.scale(part * share).backward()
        losses.append(whole)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if average:
            average.update_parameters(net)
        measured = (average or net).eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits = measured(test_x)
            plain = F.binary_cross_entropy_with_logits(logits.float(), hot(test_y)) if loss.__name__.startswith("labels") else cross_entropy(logits.float(), test_y)
            tested.append(plain.item())
        net.train()
        if scheduler:
            if plateau:
                scheduler.step(tested[-1])
            else:
                scheduler.step()
    return {"losses": losses, "tested": tested, "rates": rates}


def labels_weighted(logits, y):
    return F.binary_cross_entropy_with_logits(logits.float(), hot(y), pos_weight=WEIGHTS)


def labels_focal(logits, y):
    return sigmoid_focal_loss(logits.float(), hot(y), alpha=0.25, gamma=2.0, reduction="mean")


def warmed(factor, warm_up=3):
    return lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda s: s / warm_up if s < warm_up else factor(s))


if __name__ == "__main__":
    cases = {
        "plain": train(),
        "sgd": train(sgd=True),
        "accumulated": train(parts=8),
        "accumulated, weighted": train(parts=8, loss=lambda a, b: cross_entropy(a, b, weight=WEIGHTS), total=lambda y: WEIGHTS[y].sum()),
        "ema": train(ema=0.9),
        "polynomial": train(schedule=lambda o: transformers.get_polynomial_decay_schedule_with_warmup(o, 3, STEPS, lr_end=1e-4, power=2.0)),
        "step": train(schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 7, gamma=0.3)),
        "plateau": train(plateau=True, lr=0.05, schedule=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=2, factor=0.5)),
        "class weights": train(loss=lambda a, b: cross_entropy(a, b, weight=WEIGHTS)),
        "class weights, smoothed": train(loss=lambda a, b: cross_entropy(a, b, weight=WEIGHTS, label_smoothing=0.1)),
        "focal": train(loss=focal),
        "focal, weighted": train(loss=lambda a, b: focal(a, b, weight=WEIGHTS)),
        "labels, weighted": train(loss=labels_weighted),
        "labels, focal": train(loss=labels_focal),
        "bfloat16": train(dtype=torch.bfloat16),
        "bfloat16, accumulated": train(dtype=torch.bfloat16, parts=8),
        "float16": train(dtype=torch.float16),
    }
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "cases": cases}))
