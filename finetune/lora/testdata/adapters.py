"""Writes adapters as PEFT saves them and what PEFT computes with them, for finetune/lora/peft_test.go.

    python adapters.py

    NAME/        adapters of text/testdata/tiny/bert_prefix.safetensors as BertForSequenceClassification, all values
                 random, or of a small convolutional network ("conv", whose own weights are conv/base.safetensors)
    golden.json  for each the logits of a batch; for "start" and "start_full" the losses of 30 AdamW steps from there

Tensors in JSON are {dtype, shape, data}, data being the elements, little-endian, in base64.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, peft 0.21.2, safetensors 0.8.0.
"""
import base64
import json
import pathlib
import platform
import shutil

import peft
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

HERE = pathlib.Path(__file__).resolve().parent
TINY = HERE.parents[2] / "text/testdata/tiny"
VERSIONS = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "peft": peft.__version__, "safetensors": safetensors.__version__}
STEPS, ROWS, LR, DECAY, CLIP = 30, 8, 5e-3, 0.01, 1.0
HEAD = ["classifier", "pooler"]
EMBEDDINGS = ["word_embeddings", "position_embeddings", "token_type_embeddings"]

ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["query", "value"], modules_to_save=HEAD),
    # PEFT's own choice of what to save: the pooler is not, and gets an adapter
    "all_linear": dict(r=3, lora_alpha=5, use_rslora=True, lora_dropout=0.1, target_modules="all-linear", bias="all"),
    "pattern": dict(r=2, lora_alpha=4, target_modules=r".*\.layer\.1\..*\.(query|dense)", bias="lora_only"),
    "embeddings": dict(r=2, lora_alpha=3, use_rslora=True, target_modules=[*EMBEDDINGS, "value"], modules_to_save=[*HEAD, "LayerNorm"]),
}
STARTS = {  # init_lora_weights as PEFT's default is: the first losses are those of the network alone
    "start": dict(r=4, lora_alpha=8, target_modules=["query", "value"], modules_to_save=HEAD),
    "start_full": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["word_embeddings", "key", "output.dense"], bias="lora_only",
                       modules_to_save=HEAD),
}


def stored(t):
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}


def tiny(seed):
    config = BertConfig(**json.loads((TINY / "config.json").read_text()) | {"num_labels": 3}, attn_implementation="eager")
    m = BertForSequenceClassification(config).eval()
    bert = {k: v for k, v in load_file(TINY / "bert_prefix.safetensors").items() if k.startswith("bert.")}
    missing, unexpected = m.load_state_dict(bert, strict=False)
    assert set(missing) == {"classifier.weight", "classifier.bias"} and not unexpected, (missing, unexpected)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        m.classifier.weight.copy_(torch.randn(3, 32, generator=g) * 0.3)
        m.classifier.bias.copy_(torch.randn(3, generator=g) * 0.3)
    return m


class Conv(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 6, 1)
        self.fc = torch.nn.Linear(6, 2)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.conv2(x).mean((2, 3)))


def randomise(m, seed):
    """Values for all that is trained: what stays unread must show."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in m.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=g) * 0.2)


def save(m, name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    m.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = folder / "adapter_config.json"
    text = json.loads(config.read_text())
    for key in ("target_modules", "modules_to_save"):  # sets, written in another order each time
        if isinstance(text[key], list):
            text[key] = sorted(set(text[key]))
    config.write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    for f in folder.iterdir():
        f.chmod(0o644)
    print(name, *(f"{f.name} {f.stat().st_size}" for f in folder.iterdir()))


def padded(ids):
    longest = max(map(len, ids))
    pad = lambda rows: torch.tensor([r + [0] * (longest - len(r)) for r in rows])
    return dict(input_ids=pad(ids), attention_mask=pad([[1] * len(r) for r in ids]))


def texts(seed, rows):
    g = torch.Generator().manual_seed(seed)
    draw = lambda low, high: torch.randint(low, high, (), generator=g).item()
    ids = [[2, *(draw(5, 99) for _ in range(draw(1, 15))), 3] for _ in range(rows)]
    return ids, [max(r) % 3 for r in ids]


def train(m, steps):
    m.train()
    named = [(n, p) for n, p in m.named_parameters() if p.requires_grad]
    groups = [dict(params=[p for _, p in named if p.dim() > 1], weight_decay=DECAY),
              dict(params=[p for _, p in named if p.dim() <= 1], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    losses = []
    for ids, labels in steps:
        loss = m(**padded(ids), labels=torch.tensor(labels)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    ids, _ = texts(1, 5)
    steps = [texts(100 + i, ROWS) for i in range(STEPS)]
    golden = {"versions": VERSIONS, "ids": ids, "logits": {}, "losses": {}, "lr": LR, "weight_decay": DECAY, "clip": CLIP,
              "steps": [{"ids": i, "labels": l} for i, l in steps]}
    for n, (name, config) in enumerate((ADAPTERS | STARTS).items()):
        torch.manual_seed(n)
        m = peft.get_peft_model(tiny(n), peft.LoraConfig(task_type="SEQ_CLS", **config))
        if name in ADAPTERS:
            randomise(m, 50 + n)
        m.eval()
        save(m, name)
        with torch.no_grad():
            golden["logits"][name] = stored(m(**padded(ids)).logits)
        if name in STARTS:
            golden["losses"][name] = losses = train(m, steps)
            print(name, losses[0], losses[-1])
            with torch.no_grad():
                golden["logits"][name + " after"] = stored(m.eval()(**padded(ids)).logits)

    torch.manual_seed(9)
    m = Conv().eval()
    m.bn1.running_mean.normal_()
    base = {k: v.clone() for k, v in m.state_dict().items()}
    m = peft.get_peft_model(m, peft.LoraConfig(r=2, lora_alpha=3, target_modules=["conv1", "conv2"], bias="all", modules_to_save=["fc"]))
    randomise(m, 60)
    m.eval()
    save(m, "conv")
    save_file(base, HERE / "conv/base.safetensors", {"format": "pt"})
    (HERE / "conv/base.safetensors").chmod(0o644)
    x = torch.randn(2, 3, 6, 5)
    with torch.no_grad():
        golden["image"], golden["logits"]["conv"] = stored(x), stored(m(x))
    lines = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    (HERE / "golden.json").write_text("{" + ",\n ".join(lines) + "}\n")


if __name__ == "__main__":
    main()
