"""A whole fine-tuning of a torchvision ResNet on a folder of JPEGs on the CPU: a peer of bench/runs.go.

    python runs_vision.py FOLDER WEIGHTS.pth --as D|B --model resnet18|resnet50 --train all|layer4|head --epochs N [--augment]

--as D is written as torchvision's transfer learning tutorial: frozen parameters by requires_grad, the network in training
mode, a DataLoader with what it takes by itself (num_workers=0), Pillow and torchvision.transforms, contiguous tensors.

--as B is written by its best user for the same machine: channels-last weights and pictures; frozen layers in evaluation mode
under no_grad; pictures decoded and cropped as uint8 tensors by torchvision's own JPEG reader and transforms.v2, in a worker a
core, and normalised by the batch; as many threads as cores; bfloat16 where the CPU multiplies it (AMX or AVX512-BF16) and two
forward passes are faster so. There is no torch.compile: its minutes do not pay in runs of minutes.

Both train with SGD (momentum 0.9) in batches of 32. Nothing is evaluated, on Thaw's side neither: the weights are random.
--augment crops and flips at random; without it the middle of each picture is cut out, as in evaluation.

Prints one JSON object: the seconds of the epochs, decoding and the start of workers counted, and the peak resident bytes of
this process; workers' own memory is not counted. Run on torch 2.11.0, torchvision 0.26.0, Pillow 13.0.0 (make peers).
"""
import argparse
import contextlib
import itertools
import json
import os
import resource
import time

import torch
import torchvision
from torchvision import datasets, transforms
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

from runs_common import multiplies_bfloat16

BATCH, CLASSES = 32, 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("weights")
    p.add_argument("--as", dest="user", choices=["D", "B"], required=True)
    p.add_argument("--model", choices=["resnet18", "resnet50"], required=True)
    p.add_argument("--train", choices=["all", "layer4", "head"], required=True)
    p.add_argument("--epochs", type=int, required=True)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--share", type=float, default=1, help="of the steps, after which training ends")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of B, and its workers")
    p.add_argument("--augment", action="store_true")
    return p.parse_args()


def network(args):
    model = getattr(torchvision.models, args.model)()
    model.load_state_dict(torch.load(args.weights))
    model.fc = torch.nn.Linear(model.fc.in_features, CLASSES)
    return model


class Default:
    def __init__(self, args):
        self.model = network(args)
        if args.train != "all":
            self.model.requires_grad_(False)
            self.model.fc.requires_grad_(True)
            if args.train == "layer4":
                self.model.layer4.requires_grad_(True)
        self.model.train()
        crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] if args.augment else \
            [transforms.Resize(256), transforms.CenterCrop(224)]
        steps = transforms.Compose(crop + [transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
        self.loader = torch.utils.data.DataLoader(datasets.ImageFolder(args.folder, steps), batch_size=BATCH, shuffle=True)

    def loss(self, x, labels):
        return torch.nn.functional.cross_entropy(self.model(x), labels)


class Best:
    def __init__(self, args):
        cores = args.threads
        torch.set_num_threads(cores)
        self.model = network(args).to(memory_format=torch.channels_last).train()
        m = self.model
        stages = [torch.nn.Sequential(m.conv1, m.bn1, m.relu, m.maxpool), m.layer1, m.layer2, m.layer3, m.layer4]
        frozen = {"all": 0, "layer4": 4, "head": 5}[args.train]
        self.prefix = torch.nn.Sequential(*stages[:frozen]).requires_grad_(False).eval()
        self.suffix = torch.nn.Sequential(*stages[frozen:])
        crop = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()] if args.augment else [v2.Resize(256), v2.CenterCrop(224)]
        pictures = datasets.ImageFolder(args.folder, v2.Compose(crop),
                                        loader=lambda path: decode_image(read_file(path), ImageReadMode.RGB))
        self.loader = torch.utils.data.DataLoader(pictures, batch_size=BATCH, shuffle=True, num_workers=cores, persistent_workers=True)
        self.mean = 255 * torch.tensor(MEAN).view(1, 3, 1, 1)
        self.scale = 1 / (255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.bfloat16 = False
        if multiplies_bfloat16():
            self.bfloat16 = self.seconds(True) < self.seconds(False)

    def seconds(self, bfloat16):
        """Of two forward passes, after one."""
        self.bfloat16 = bfloat16
        x = torch.zeros(BATCH, 3, 224, 224, dtype=torch.uint8)
        mode = self.model.training
        self.model.eval()  # leaves the norms' statistics alone
        with torch.inference_mode():
            self.logits(x)
            start = time.perf_counter()
            self.logits(x)
            self.logits(x)
        self.model.train(mode)
        self.prefix.eval()
        return time.perf_counter() - start

    def logits(self, x):
        x = x.contiguous(memory_format=torch.channels_last).float().sub_(self.mean).mul_(self.scale)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            with torch.no_grad() if len(self.prefix) else contextlib.nullcontext():
                x = self.prefix(x)
            return self.model.fc(self.suffix(x).mean((2, 3)))

    def loss(self, x, labels):
        return torch.nn.functional.cross_entropy(self.logits(x).float(), labels)


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    net = Default(args) if args.user == "D" else Best(args)
    trained = [p for p in net.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=args.lr, momentum=0.9, weight_decay=1e-4)
    steps = args.epochs * len(net.loader)
    start = time.perf_counter()
    batches = itertools.chain.from_iterable(net.loader for _ in range(args.epochs))
    for x, labels in itertools.islice(batches, round(args.share * steps)):
        loss = net.loss(x, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    took = time.perf_counter() - start
    if not loss.isfinite():
        raise SystemExit(f"the last loss is {loss.item()}")
    print(json.dumps({
        "share": round(args.share * steps) / steps,
        "train_seconds": took, "evaluate_seconds": 0, "accuracies": [], "threads": torch.get_num_threads(),
        "precision": "bfloat16" if getattr(net, "bfloat16", False) else "float32",
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }), flush=True)


if __name__ == "__main__":
    main()
