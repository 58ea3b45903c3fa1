"""Makes ddp.json: what PyTorch's DistributedDataParallel makes of real networks on two ranks, for TestDDP.

    python ddp.py > ddp.json

text     a BERT of 2 layers (text/testdata/tiny) of transformers, all of it trained
parts    the same, gradients accumulated over two parts of each batch (no_sync)
lora     the same with PEFT's adapters on query and value
pictures a ResNet-18 of torchvision, all of it trained, each rank's batch norms for themselves

Weights, texts and pictures are made by a formula of their names, here and in the test. Which samples are in a batch is Thaw's
affair: ddp_order.json, which `THAW_WRITE_ORDER=1 go test -run TestDDP ./recipe` writes. Of each batch a rank has every second
sample. Losses are the mean over both ranks and, as Thaw tells them, over the steps of the epoch so far. Gradients go by Gloo.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0, peft 0.21.2 (make peers).
"""
import contextlib
import json
import math
import pathlib
import sys

import numpy as np
import peft
import torch
import torch.distributed
import torch.nn.functional as F
import torchvision
import transformers
from torch.nn.parallel import DistributedDataParallel
from transformers import BertConfig, BertForSequenceClassification

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "finetune/testdata"))
sys.path.append(str(HERE.parents[1] / "torch/torchtest/testdata"))
from goldens import numbers, words  # noqa: E402
from ranks import on_ranks  # noqa: E402

TINY = HERE.parents[1] / "text/testdata/tiny"
RANKS, DECAY, CLIP = 2, 0.01, 1.0
WORDS = ["good", "bad", "film", "movie", "the", "is", "it", "not", "very", "was", "fun", "dull", "great", "boring", "no", "yes"]
SIDE, MEAN, STD = 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def fill(key, t):
    """Gives a tensor numbers that are even around a middle; norms' biases alternate in sign."""
    middle, spread, alternate = 0.0, 0.05, False
    if t.dim() == 4:
        spread = math.sqrt(6 / math.prod(t.shape[1:]))
    elif t.dim() == 2:
        spread = 0.25
    elif key.endswith("running_var"):
        middle, spread = 1.0, 0.25
    elif "LayerNorm.weight" in key:
        middle, spread = 1.0, 0.1
    elif "bn" in key or "downsample.1" in key:
        last = ".bn2." in key
        if key.endswith("weight"):
            middle, spread = (0.1, 0.01) if last else (0.2, 0.02)
        elif key.endswith("bias"):
            middle, spread, alternate = (0.25, 0.02, True) if last else (0.5, 0.05, True)
    t.copy_(numbers(key, t.shape, middle, spread, alternate))


def named(name):
    """Thaw's name of a tensor of PEFT's."""
    name = name.removeprefix("base_model.model.")
    for part in (".default", ".modules_to_save", ".base_layer"):
        name = name.replace(part, "")
    return name


@torch.no_grad()
def filled(model):
    for name, t in model.state_dict().items():
        if not name.endswith(("num_batches_tracked", "position_ids")):
            fill(named(name), t)
    return model


def bert(adapters):
    config = BertConfig(**json.loads((TINY / "config.json").read_text()) | {"num_labels": 2}, attn_implementation="eager")
    m = BertForSequenceClassification(config)
    if adapters:
        m = peft.get_peft_model(m, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], modules_to_save=["classifier", "pooler"]))
    return filled(m).train()


def text(i):
    """Words of text i and its class. Lengths differ, so that batches are of like length."""
    w = words(f"text {i}", 16)
    return [WORDS[int(x % np.uint64(16))] for x in w[:1 + int(w[15] % np.uint64(14))]], int(w[14] >> np.uint64(63))


def texts(indices):
    vocabulary = {w: i for i, w in enumerate((TINY / "vocab.txt").read_text().split("\n"))}
    rows = [text(i) for i in indices]
    ids = [[vocabulary[w] for w in ["[CLS]", *words, "[SEP]"]] for words, _ in rows]
    longest = max(map(len, ids))
    pad = lambda rows: torch.tensor([r + [0] * (longest - len(r)) for r in rows])
    return dict(input_ids=pad(ids), attention_mask=pad([[1] * len(r) for r in ids])), torch.tensor([y for _, y in rows])


def pictures(indices):
    x = np.stack([(words(f"picture {i}", 3 * SIDE * SIDE) >> np.uint64(56)).astype(np.float32).reshape(SIDE, SIDE, 3) for i in indices])
    x = (x / np.float32(255) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.tensor([i % 2 for i in indices])


def train(rank, model, load, epochs, lr, parts=1, sgd=False):
    def logits(x):
        return ddp(x) if torch.is_tensor(x) else ddp(**x).logits

    ddp = DistributedDataParallel(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [dict(params=[p for p in trained if p.dim() > 1], weight_decay=DECAY), dict(params=[p for p in trained if p.dim() == 1], weight_decay=0.0)]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9) if sgd else torch.optim.AdamW(groups, lr=lr)
    losses = []
    for batches in epochs:
        total = 0.0
        for step, batch in enumerate(batches):
            mine = batch[rank::RANKS]
            assert len(mine) * RANKS == len(batch), "DDP would weigh ranks with fewer samples as the others"
            size = len(mine) // parts
            mean = torch.zeros(())
            for k in range(parts):
                x, y = load(mine[k * size:(k + 1) * size])
                with ddp.no_sync() if k < parts - 1 else contextlib.nullcontext():
                    loss = F.cross_entropy(logits(x), y) / parts
                    loss.backward()
                mean += loss.detach()
            torch.distributed.all_reduce(mean)
            total += mean.item() / RANKS
            losses.append(total / (step + 1))
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return losses


def run(rank):
    order = json.loads((HERE / "ddp_order.json").read_text())
    return {
        "text": train(rank, bert(False), texts, order["text"], 1e-3),
        "parts": train(rank, bert(False), texts, order["parts"], 1e-3, parts=2),
        "lora": train(rank, bert(True), texts, order["lora"], 5e-3),
        "pictures": train(rank, filled(torchvision.models.resnet18(weights=None, num_classes=2)).train(), pictures, order["pictures"], 2e-3, sgd=True),
    }


if __name__ == "__main__":
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    print(json.dumps({"versions": versions, "losses": on_ranks(run, RANKS, timeout=300)}))
