"""Writes registry.json, what the registry is compared with, and ../categories.json.gz, the class names that package hub embeds.

    python testdata/registry.py

All of it is read from torchvision's own description of its weights, and the parameters of the text encoders are counted on
models that transformers builds from their configurations; nothing is downloaded.
"""

import gzip
import json
import pathlib

import torchvision
import transformers
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models._meta import _COCO_CATEGORIES, _IMAGENET_CATEGORIES

here = pathlib.Path(__file__).parent

weights = {}
for name in list_models(module=torchvision.models):
    if "resnet" not in name and "resnext" not in name:
        continue
    every = get_model_weights(name)
    for w in every:
        t = w.transforms()
        weights[f"{name}.{w.name.lower()}"] = {
            "architecture": name,
            "default": w == every.DEFAULT,
            "url": w.url,
            "parameters": w.meta["num_params"],
            "mib": w.meta["_file_size"],
            "accuracy1": w.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            "accuracy5": w.meta["_metrics"]["ImageNet-1K"]["acc@5"],
            "resize": t.resize_size[0],
            "crop": t.crop_size[0],
            "max_size": 0,
            "mean": list(t.mean),
            "std": list(t.std),
            "interpolation": t.interpolation.value,
            "antialias": t.antialias,
            "categories": "imagenet" if w.meta["categories"] == _IMAGENET_CATEGORIES else None,
        }
for name in ["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"]:
    every = get_model_weights(name)
    t = get_model(name, weights=None, weights_backbone=None).transform
    for w in every:
        weights[f"{name}.{w.name.lower()}"] = {
            "architecture": name,
            "default": w == every.DEFAULT,
            "url": w.url,
            "parameters": w.meta["num_params"],
            "mib": w.meta["_file_size"],
            "box_ap": w.meta["_metrics"]["COCO-val2017"]["box_map"],
            "resize": t.min_size[0],
            "crop": 0,
            "max_size": t.max_size,
            "mean": list(t.image_mean),
            "std": list(t.image_std),
            "interpolation": "bilinear",
            "antialias": False,
            "categories": "coco" if w.meta["categories"] == _COCO_CATEGORIES else None,
        }

encoders = {
    "bert-base-uncased": transformers.BertModel(transformers.BertConfig()),
    "bert-base-cased": transformers.BertModel(transformers.BertConfig(vocab_size=28996)),
    "bert-large-uncased": transformers.BertModel(
        transformers.BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    ),
    "distilbert-base-uncased": transformers.DistilBertModel(transformers.DistilBertConfig()),
    "sentence-transformers/all-MiniLM-L6-v2": transformers.BertModel(
        transformers.BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    ),
    "microsoft/resnet-50": transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)),
}

golden = {
    "torchvision": torchvision.__version__,
    "transformers": transformers.__version__,
    "weights": weights,
    "parameters": {name: m.num_parameters() for name, m in encoders.items()},
}
(here / "registry.json").write_text(json.dumps(golden, indent=1) + "\n")

names = {"torchvision": torchvision.__version__, "imagenet": _IMAGENET_CATEGORIES, "coco": _COCO_CATEGORIES}
with open(here.parent / "categories.json.gz", "wb") as f:
    f.write(gzip.compress(json.dumps(names, ensure_ascii=False).encode(), 9, mtime=0))
