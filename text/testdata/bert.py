"""Writes what transformers computes with BERT, for text/bert_test.go.

    python bert.py MODEL REVIEWS    MODEL: examples/reviews/data/model, REVIEWS: examples/reviews/reviews.tsv
    python bert.py MODEL REVIEWS fused sdpa    prints how far the losses move with AdamW's fused kernel and with
                                               sdpa attention, writes nothing

    minilm.json    the real weights: hidden states, pooler output and logits of 6 texts in one batch and alone, and of
                   one text of 512 tokens
    train.json.gz  the real weights: the losses of 30 AdamW steps, all parameters and top layers only
    tiny/          a random BERT of 2 layers in four key layouts; tiny/golden.json has what they give

Tensors in JSON are {dtype, shape, data}, data being the elements, little-endian, in base64.

Run on Python 3.11 with torch 2.11.0, transformers 5.17.0, tokenizers 0.23.3, safetensors 0.8.0.
"""
import base64
import gzip
import json
import pathlib
import platform
import sys

import safetensors
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

HERE = pathlib.Path(__file__).parent
VERSIONS = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__, "safetensors": safetensors.__version__}
STEPS, ROWS, LENGTH, LR, DECAY, CLIP, WARM_UP = 30, 8, 64, 5e-5, 0.01, 1.0, 3
SCALE = 0.02  # of the head that is trained, BERT's initializer_range
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def stored(t):
    t = t.detach().contiguous()
    raw = t.reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": base64.b64encode(raw).decode()}


def write(name, content):
    lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in {"versions": VERSIONS, **content}.items())
    data = ("{" + ",\n ".join(lines) + "}\n").encode()
    if name.endswith(".gz"):
        data = gzip.compress(data, 9, mtime=0)
    (HERE / name).write_bytes(data)
    print(name, len(data))


def head(seed, labels, hidden, scale):
    """A classifier whose weights lie in the golden."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(labels, hidden, generator=g) * scale, torch.randn(labels, generator=g) * scale


def classifier(weights, config, labels, seed, scale=0.5, attention="eager"):
    config = BertConfig(**{**config, "num_labels": labels, **NO_DROPOUT}, attn_implementation=attention)
    m = BertForSequenceClassification(config).eval()
    weights = {k: v for k, v in weights.items() if k != "embeddings.position_ids"}
    w, b = head(seed, labels, config.hidden_size, scale)
    m.load_state_dict({"bert." + k: v for k, v in weights.items()} | {"classifier.weight": w, "classifier.bias": b})
    return m


def padded(ids, types=None):
    """input_ids, token_type_ids and attention_mask of lists of ids, padded at the end with 0."""
    longest = max(map(len, ids))
    pad = lambda rows: torch.tensor([r + [0] * (longest - len(r)) for r in rows])
    return dict(input_ids=pad(ids), token_type_ids=pad(types or [[0] * len(r) for r in ids]), attention_mask=pad([[1] * len(r) for r in ids]))


def listed(batch):
    return {k: v.tolist() for k, v in batch.items()}


@torch.no_grad()
def answers(m, batch):
    out = m.bert(**batch)
    return out.last_hidden_state, out.pooler_output, m(**batch).logits


def tokenizer(model):
    t = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    t.no_padding()
    return t


def minilm(model, config, weights, texts):
    t = tokenizer(model)
    t.enable_truncation(512)
    m = classifier(weights, config, 3, seed=3)
    inputs = ["", "Good.", ["Is it worth seeing?", "Only if you have already read the book, twice."], texts[0], texts[1],
              " ".join(texts[2:5])]
    encodings = [t.encode(*x) if isinstance(x, list) else t.encode(x) for x in inputs]
    ids, types = [e.ids for e in encodings], [e.type_ids for e in encodings]
    batch = padded(ids, types)
    hidden, pooled, logits = answers(m, batch)
    tokens = [sorted({0, 1, len(x) // 2, len(x) - 1}) for x in ids]
    alone = [answers(m, padded([i], [s])) for i, s in zip(ids, types)]
    for k, a in enumerate(alone):
        print(k, len(ids[k]), "alone against padded:", (a[2] - logits[k]).abs().max().item(), (a[0][0] - hidden[k, :len(ids[k])]).abs().max().item())
    full = padded([t.encode(" ".join(texts[5:60])).ids])
    full_hidden, full_pooled, full_logits = answers(m, full)
    at = [0, 255, 511]
    write("minilm.json", {
        "texts": inputs, **listed(batch), "lengths": [len(x) for x in ids],
        "tokens": tokens, "hidden": [stored(hidden[k, at]) for k, at in enumerate(tokens)],
        "pooled": stored(pooled), "logits": stored(logits), "alone": stored(torch.cat([a[2] for a in alone])),
        "classifier": {"weight": stored(m.classifier.weight), "bias": stored(m.classifier.bias)},
        "full": {**listed(full), "tokens": at, "hidden": stored(full_hidden[0, at]), "pooled": stored(full_pooled), "logits": stored(full_logits)},
    })


def train(config, weights, batches, top, attention="eager", **adamw):
    m = classifier(weights, config, 2, seed=2, scale=SCALE, attention=attention).train()
    trained = []
    for name, p in m.named_parameters():
        p.requires_grad = not top or name.startswith(("bert.encoder.layer.4.", "bert.encoder.layer.5.", "bert.pooler.", "classifier."))
        trained += [name] if p.requires_grad else []
    params = [p for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=LR, weight_decay=DECAY, **adamw)
    schedule = get_linear_schedule_with_warmup(optimizer, WARM_UP, STEPS)
    losses, norms = [], []
    for ids, labels in batches:
        loss = m(**padded(ids), labels=torch.tensor(labels)).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, CLIP).item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    print("top" if top else "all", adamw, attention, losses[0], losses[-1])
    return m, {"trained": trained, "losses": losses, "norms": norms}


def batches(model, rows):
    t = tokenizer(model)
    t.enable_truncation(LENGTH)
    rows = [([t.encode(text).ids for text, _ in rows[k:k + ROWS]], [["negative", "positive"].index(y) for _, y in rows[k:k + ROWS]])
            for k in range(0, STEPS * ROWS, ROWS)]
    return rows


def thirty_steps(model, config, weights, rows):
    steps = batches(model, rows)
    out = {}
    for name in ("all", "top"):
        m, out[name] = train(config, weights, steps, name == "top")
        m.eval()
        with torch.no_grad():
            out[name]["logits_after"] = stored(m(**padded(steps[0][0])).logits)
    w, b = head(2, 2, config["hidden_size"], SCALE)
    write("train.json.gz", {
        "lr": LR, "weight_decay": DECAY, "clip": CLIP, "warm_up": WARM_UP, "max_length": LENGTH,
        "classes": ["negative", "positive"], "classifier": {"weight": stored(w), "bias": stored(b)},
        "steps": [{"ids": ids, "labels": labels} for ids, labels in steps], **out,
    })


def tiny():
    """A random BERT; its vocabulary is letters, digits and a few words."""
    folder = HERE / "tiny"
    folder.mkdir(exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters), *"0123456789", *".,!?'",
             *"good bad film movie the is it not very was fun dull great boring no yes and but".split(),
             *"##ly ##able ##ing ##ed ##er ##est ##un ##ness ##ful".split()]
    assert len(vocab) == len(set(vocab)) == 99, len(vocab)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    torch.manual_seed(99)
    sizes = dict(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
                 max_position_embeddings=32, type_vocab_size=2)
    m = transformers.BertForPreTraining(BertConfig(**sizes, **NO_DROPOUT, attn_implementation="eager")).eval()
    g = torch.Generator().manual_seed(100)
    with torch.no_grad():  # no zeros and no ones: a bias or a norm that stays unread must show
        for p in m.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "layer_norm_eps": 1e-12,
              "initializer_range": 0.02, "pad_token_id": 0, "position_embedding_type": "absolute", **sizes, **NO_DROPOUT}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    state = {k: v.clone() for k, v in m.state_dict().items() if not k.endswith("decoder.weight") and not k.endswith("decoder.bias")}
    bare = {k.removeprefix("bert."): v for k, v in state.items() if k.startswith("bert.")}
    old = lambda k: k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    layouts = {
        "bare": bare | {"embeddings.position_ids": torch.arange(32).reshape(1, 32)},  # BertModel, and its saved positions
        "bert_prefix": state,                                                         # BertForPreTraining
        "gamma_beta": {old(k): v for k, v in state.items()},                          # the same, TensorFlow's names
        "no_pooler": {k: v for k, v in bare.items() if not k.startswith("pooler.")},
    }
    for name, tensors in layouts.items():
        save_file(tensors, folder / f"{name}.safetensors", {"format": "pt"})
        (folder / f"{name}.safetensors").chmod(0o644)
        print(name, len(tensors), (folder / f"{name}.safetensors").stat().st_size)

    c = classifier(bare, sizes, 3, seed=5)
    ids = [[2, 83, 84, 85, 3], [2, 3], [2, *range(5, 33), 86, 87, 3], [2, 88, 90, 3, 89, 91, 92, 3]]
    types = [[0] * len(r) for r in ids]
    types[3] = [0, 0, 0, 0, 1, 1, 1, 1]
    batch = padded([r[:32] for r in ids], [r[:32] for r in types])
    hidden, pooled, logits = answers(c, batch)
    mask = batch["attention_mask"].unsqueeze(-1).float()
    mean = (hidden * mask).sum(1) / mask.sum(1)
    with torch.no_grad():
        mean_logits = c.classifier(mean)
    write("tiny/golden.json", {
        **listed(batch), "lengths": batch["attention_mask"].sum(1).tolist(), "layouts": {k: list(v) for k, v in layouts.items()},
        "classifier": {"weight": stored(c.classifier.weight), "bias": stored(c.classifier.bias)},
        "hidden": stored(hidden), "pooled": stored(pooled), "logits": stored(logits), "mean": stored(mean), "mean_logits": stored(mean_logits),
    })


def main(model, reviews, *noise):
    torch.set_num_threads(2)
    model = pathlib.Path(model)
    config = json.loads((model / "config.json").read_text())
    sizes = {k: config[k] for k in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                                    "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id")}
    weights = load_file(model / "model.safetensors")
    lines = pathlib.Path(reviews).read_bytes().decode("utf-8", "replace").split("\n")[1:]
    rows = [tuple(line.split("\t")) for line in lines[:STEPS * ROWS]]
    if noise:
        for name in ("all", "top"):
            want = train(sizes, weights, batches(model, rows), name == "top")[1]["losses"]
            for how in noise:
                kind = dict(fused=True) if how == "fused" else dict(attention=how)
                got = train(sizes, weights, batches(model, rows), name == "top", **kind)[1]["losses"]
                print(name, how, "largest relative difference of a loss:", max(abs(a - b) / a for a, b in zip(want, got)))
        return
    tiny()
    minilm(model, sizes, weights, [t for t, _ in rows])
    thirty_steps(model, sizes, weights, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
