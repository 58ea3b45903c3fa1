"""PyTorch's own fine-tuning steps, timed: the peer of `thaw bench`, case by case and under the same names.

usage: gpu_steps.py [--cases REGEXP] [--modes eager,eager-unmasked,graph,compile] [--device cuda]
                    [--precision bfloat16] [--seconds 0.5] [--rounds 5] [--deadline SECONDS] [--list]

A step is forward, loss, backward and optimiser on random weights and random samples that lie on the device already; bf16
autocast, or float32, the default on the CPU; fused AdamW (BERT) or SGD (ResNet); dropout as published; no clipping. Frozen
layers are in evaluation mode, as Thaw's: without dropout, and batch norms by their running statistics. The modes:

eager           operator by operator, as users' loops run transformers by default: with an attention mask, of ones only
                where no text is padded, which transformers finds out by waiting for the GPU in each step
eager-unmasked  BERT on texts of one length, without that mask
graph           the eager step recorded by hand as CUDA graphs, one for each shape of a batch
compile         torch.compile(mode="reduce-overhead"), for cases of one shape

Of texts of one length, graph and compile carry no mask either: recorded or traced, one would reach the attention of every
layer and keep it from the flash kernels.

Prints one JSON line for the versions and one a case and mode: samples per second (the median of the rounds), the rounds,
peak memory in them, the loss after them. A mode that fails is a line with its error; one whose loss is not finite fails.
Each mode measures all cases before the next begins: an error of CUDA's leaves nothing working in a process. After
--deadline seconds nothing more is begun, and the exit code is 124.

Run with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0. No file or network is read.
"""
import argparse
import gc
import json
import math
import random
import re
import statistics
import subprocess
import sys
import time
import warnings

TRAINED = ("full", "top4", "head")
MODES = ("eager", "eager-unmasked", "graph", "compile")


def cases():
    """The names, in the order of `thaw bench --list`, with what they stand for."""
    out = {}
    for part in TRAINED:
        for batch in (16, 128):
            out[f"bert-base-{part}-len128-bs{batch}"] = ("bert", part, batch, "even")
        out[f"bert-base-{part}-real-bs32"] = ("bert", part, 32, "real")
    for part in ("full", "layer4", "head"):
        for batch in (32, 256):
            out[f"resnet50-{part}-bs{batch}"] = ("resnet", part, batch, "even")
    return out


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", default="", help="a regular expression")
    p.add_argument("--modes", default=",".join(MODES))
    p.add_argument("--device", default="cuda")
    p.add_argument("--precision", choices=["float32", "bfloat16"])
    p.add_argument("--seconds", type=float, default=0.5, help="of a round, about")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--deadline", type=float, default=math.inf, help="seconds after which nothing more is begun")
    p.add_argument("--list", action="store_true", help="print the cases and stop")
    return p.parse_args()


def emit(**row):
    print(json.dumps(row), flush=True)


def freeze(model, trained):
    """Leaves only the parameters trained whose names begin so; modules that have none of them go into evaluation mode."""
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith(trained))
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()  # and what is in it


def real_lengths(n):
    """As torch_extra.py's lens: lognormal(3, 0.6) from 4 to 66 tokens."""
    rng = random.Random(1)
    return [int(min(max(rng.lognormvariate(3.0, 0.6), 4), 66)) for _ in range(n)]


def runs(kind, lengths, mode):
    """Whether there is such a mode of the case."""
    if mode == "eager-unmasked":
        return kind == "bert" and lengths == "even"
    return mode != "compile" or lengths == "even"  # others compile and record every shape anew: not done in 150 s on an H100


class Bert:
    """BERT-base with two classes. `real` pads each batch of shuffled lengths to a multiple of 8."""

    def __init__(self, torch, part, batch, lengths, device, mode):
        from transformers import BertConfig, BertForSequenceClassification
        masked, attention = lengths == "real" or mode == "eager", "sdpa"
        if not masked:
            # Where nothing is given and the model is traced or recorded, transformers makes a mask for "sdpa" itself. It
            # makes none for an attention under a name that it knows no masks for: the same function, registered again.
            from transformers import AttentionInterface
            from transformers.integrations.sdpa_attention import sdpa_attention_forward
            attention = "sdpa_unmasked"
            AttentionInterface.register(attention, sdpa_attention_forward)
        with torch.device(device):
            self.model = BertForSequenceClassification(BertConfig(num_labels=2, attn_implementation=attention))
        self.model.to(device).train()
        if part == "top4":
            freeze(self.model, ("classifier.", "bert.pooler.", *(f"bert.encoder.layer.{i}." for i in (8, 9, 10, 11))))
        elif part == "head":
            freeze(self.model, ("classifier.", "bert.pooler."))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(trained, 2e-5, fused=True, capturable=on_gpu)
        rows = [128] * (8 * batch) if lengths == "even" else real_lengths(2048)
        self.batches = []
        for at in range(0, len(rows), batch):
            some = torch.tensor(rows[at:at + batch])
            longest = math.ceil(int(some.max()) / 8) * 8
            ids = torch.randint(1000, 30000, (len(some), longest))
            tensors = [ids, torch.randint(0, 2, (len(some),))]
            if masked:
                tensors.append((torch.arange(longest)[None] < some[:, None]).long())
            self.batches.append(tuple(t.to(device) for t in tensors))

    def loss(self, model, ids, labels, mask=None):
        return model(input_ids=ids, attention_mask=mask, labels=labels).loss


class ResNet:
    """ResNet-50 with ten classes, pictures of 224 by 224, channels last."""

    def __init__(self, torch, part, batch, lengths, device, mode):
        import torchvision
        with torch.device(device):
            self.model = torchvision.models.resnet50()
            self.model.fc = torch.nn.Linear(2048, 10)
        self.model = self.model.to(device, memory_format=torch.channels_last).train()
        if part != "full":
            freeze(self.model, ("fc.", "layer4.") if part == "layer4" else ("fc.",))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, 0.01, momentum=0.9, weight_decay=1e-4, fused=True)
        self.batches = [
            (torch.randn(batch, 3, 224, 224, device=device).to(memory_format=torch.channels_last),
             torch.randint(0, 10, (batch,), device=device))
            for _ in range(4)
        ]
        self.cross_entropy = torch.nn.CrossEntropyLoss()

    def loss(self, model, pictures, labels):
        return self.cross_entropy(model(pictures), labels)


def eager_step(torch, net, device, model=None):
    model = net.model if model is None else model  # a compiled one has no truth: it asks for a length

    def step(batch):
        net.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=net.bfloat16):
            loss = net.loss(model, *batch)
        loss.backward()
        net.optimizer.step()
        return loss.detach()
    return step


def graph_step(torch, net, device):
    """The eager step, recorded once for each shape. They share a pool: only one runs at a time."""
    eager = eager_step(torch, net, device)
    graphs, pool = {}, torch.cuda.graph_pool_handle()
    for batch in net.batches:
        shape = batch[0].shape
        if shape in graphs:
            continue
        static = tuple(t.clone() for t in batch)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                eager(static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            loss = eager(static)
        graphs[shape] = (graph, static, loss)

    def step(batch):
        graph, static, loss = graphs[batch[0].shape]
        for to, of in zip(static, batch):
            to.copy_(of)
        graph.replay()
        return loss
    return step


def compiled_step(torch, net, device):
    return eager_step(torch, net, device, torch.compile(net.model, mode="reduce-overhead"))


def measure(torch, net, step, device, seconds, rounds):
    """As thaw bench: one step of each shape and one more, then rounds of as many batches as take `seconds`."""
    at = 0

    def run(n):
        nonlocal at
        if device.type == "cuda":
            torch.cuda.synchronize()
        began, samples = time.perf_counter(), 0
        for _ in range(n):
            batch = net.batches[at]
            at = (at + 1) % len(net.batches)
            step(batch)
            samples += len(batch[0])
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began, samples

    seen = {}
    for batch in net.batches:
        seen.setdefault(batch[0].shape, batch)
    warm_up = 3 if device.type == "cuda" else 1  # a compiled step is recorded at its second call
    for _ in range(warm_up):
        for batch in seen.values():
            step(batch)
    n = 1
    while True:
        spent, _ = run(n)
        enough = math.ceil(n * seconds / max(spent, 1e-9))
        if enough <= 2 * n:
            n = max(1, enough)
            break
        n = min(enough, 4 * n)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()  # warming up, cuDNN tried algorithms that took more
    speeds = []
    for _ in range(rounds):
        spent, samples = run(n)
        speeds.append(samples / spent)
    return statistics.median(speeds), speeds, n


def peak_memory(torch, device):
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(torch, kind, part, batch, lengths, mode, device, bfloat16, seconds, rounds):
    torch.manual_seed(1)
    if mode in ("graph", "compile") and device.type != "cuda":
        raise RuntimeError(f"the mode {mode} needs a GPU")
    net = (Bert if kind == "bert" else ResNet)(torch, part, batch, lengths, device, mode)
    net.bfloat16 = bfloat16
    make = {"graph": graph_step, "compile": compiled_step}.get(mode, eager_step)
    step = make(torch, net, device)
    speed, speeds, batches = measure(torch, net, step, device, seconds, rounds)
    memory = peak_memory(torch, device)
    loss = float(step(net.batches[0]))  # of one step more: what the steps left is still a model
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss}")
    return dict(samples_per_second=speed, rounds=speeds, batches=batches, peak_memory_bytes=memory, loss=loss)


def versions(torch, device):
    import torchvision
    import transformers
    row = dict(torch=torch.__version__, torchvision=torchvision.__version__, transformers=transformers.__version__,
               python=sys.version.split()[0], device=str(device), threads=torch.get_num_threads())
    if device.type == "cuda":
        row.update(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), gpu=torch.cuda.get_device_name(device),
                   driver=driver())
    return row


def driver():
    """The driver's version, or None."""
    try:
        asked = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True,
                               text=True, timeout=20, check=True)
        return asked.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def main():
    began = time.monotonic()
    o = arguments()
    wanted = {name: case for name, case in cases().items() if re.search(o.cases, name)}
    modes = [m for m in o.modes.split(",") if m]
    if unknown := set(modes) - set(MODES):
        sys.exit(f"gpu_steps.py: no mode is named {', '.join(sorted(unknown))}: there are {', '.join(MODES)}")
    if not wanted:
        sys.exit(f"gpu_steps.py: no case matches {o.cases!r}; --list tells what there is")
    if o.list:
        print("\n".join(wanted))
        return
    warnings.filterwarnings("ignore")
    import torch
    device = torch.device(o.device)
    bfloat16 = o.precision == "bfloat16" or o.precision is None and device.type == "cuda"
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    emit(versions=versions(torch, device))
    late = False
    for mode in modes:
        for name, (kind, part, batch, lengths) in wanted.items():
            if not runs(kind, lengths, mode):
                continue
            row = dict(case=name, mode=mode, batch=batch)
            if time.monotonic() - began > o.deadline:
                emit(**row, error=f"not begun: {o.deadline:.0f} s were over")
                late = True
                continue
            start = time.monotonic()
            try:
                row.update(one(torch, kind, part, batch, lengths, mode, device, bfloat16, o.seconds, o.rounds))
            except Exception as e:  # the next case may work
                row["error"] = f"{type(e).__name__}: {e}".splitlines()[0][:300]
            emit(**row, took_seconds=round(time.monotonic() - start, 1))
            if mode == "compile":
                torch._dynamo.reset()
            if device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()
    sys.exit(124 if late else 0)


if __name__ == "__main__":
    main()
