"""Checks that Thaw and torchvision, and Thaw and transformers, read each other's ResNets and give the same logits.

    python check_torchvision.py [ARCHITECTURE ...] [--most 1e-5] [--size 224]

For each architecture (resnet18, resnet50 and resnext50_32x4d without names), random weights and norm statistics go to Thaw as
torchvision's state dict in a zip .pth, a legacy .pth and a .safetensors, and, where transformers has the architecture, as
ResNetForImageClassification saves it. Thaw loads each strictly, runs 16 random images, and writes the weights with
torchvision's and with transformers' names (resnets/main.go); both load here strictly, and all logits are compared, relative
to the largest.
Exits with 1 when a difference is above --most or a key does not fit.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0, and Go (make peers).
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = 11
CONFIGS = {  # of those that transformers has
    "resnet18": dict(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
    "resnet34": dict(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3]),
    "resnet50": dict(depths=[3, 4, 6, 3]),
    "resnet101": dict(depths=[3, 4, 23, 3]),
    "resnet152": dict(depths=[3, 8, 36, 3]),
}


def randomize(model, seed):
    """Random norms, as those of a trained network."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.weight.uniform_(0.3, 0.7, generator=g)
                m.bias.uniform_(-0.2, 0.2, generator=g)
                m.running_mean.uniform_(-0.2, 0.2, generator=g)
                m.running_var.uniform_(0.5, 1.5, generator=g)
                m.num_batches_tracked.fill_(seed + 7)
    return model.eval()


def from_transformers(config, weights):
    """Loads with from_pretrained; every key must fit."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        (pathlib.Path(folder) / "model.safetensors").symlink_to(weights.resolve())
        model, info = transformers.ResNetForImageClassification.from_pretrained(folder, output_loading_info=True)
    if any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        sys.exit(f"{weights} does not fit: {info}")
    return model.eval()


def main():
    transformers.utils.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", default=["resnet18", "resnet50", "resnext50_32x4d"])
    parser.add_argument("--most", type=float, default=1e-5)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    torch.manual_seed(0)
    x = torch.randn(16, 3, args.size, args.size)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        folder, want, configs = pathlib.Path(folder), {}, {}
        save_file({"inputs": x}, folder / "inputs.safetensors")
        for seed, name in enumerate(args.architectures):
            here = folder / "in" / name
            here.mkdir(parents=True)
            model = randomize(getattr(torchvision.models, name)(num_classes=CLASSES), seed)
            torch.save(model.state_dict(), here / "zip.pth")
            torch.save(model.state_dict(), here / "legacy.pth", _use_new_zipfile_serialization=False)
            save_file(model.state_dict(), here / "plain.safetensors")
            y = model(x)
            want |= {f"{name}-{f}": (name, y) for f in ("zip-pth", "legacy-pth", "plain-safetensors")}
            if name in CONFIGS:
                configs[name] = transformers.ResNetConfig(num_labels=CLASSES, **CONFIGS[name])
                model = randomize(transformers.ResNetForImageClassification(configs[name]), seed + 100)
                model.save_pretrained(folder / "in" / (name + "-transformers"))
                want[f"{name}-transformers-model-safetensors"] = name, model(x).logits
        subprocess.run(["go", "run", "./peers/resnets", folder], cwd=ROOT / "bench", check=True)

        found = {p.name for p in (folder / "out").iterdir()}
        if found != want.keys():
            sys.exit(f"Thaw wrote {sorted(found)}, not {sorted(want)}")
        worst = 0
        for what, (name, y) in want.items():
            out = folder / "out" / what
            with safe_open(out / "logits.safetensors", "pt") as f:
                if f.metadata()["architecture"] != name:
                    sys.exit(f"{what}: Thaw took it for a {f.metadata()['architecture']}")
                logits = {"Thaw": f.get_tensor("logits")}
            model = getattr(torchvision.models, name)(num_classes=CLASSES).eval()
            model.load_state_dict(load_file(out / "torchvision.safetensors"), strict=True)
            logits["torchvision"] = model(x)
            if name in configs:
                logits["transformers"] = from_transformers(configs[name], out / "transformers.safetensors")(x).logits
            apart = {k: ((v - y).abs().max() / y.abs().max()).item() for k, v in logits.items()}
            worst = max(worst, *apart.values())
            print(f"{what:45}", {k: f"{v:.1e}" for k, v in apart.items()}, f"largest logit {y.abs().max():.3g}", flush=True)
        print(f"largest difference {worst:.1e}, relative to the largest logit")
        sys.exit(worst > args.most)


main()
