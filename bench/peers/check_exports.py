"""Checks that what thaw export writes gives Thaw's logits in transformers, torchvision and onnxruntime.

    python check_exports.py [--most 1e-5] [--only NAME]

Models of every architecture that Thaw knows, texts on a tiny BERT and, where examples/reviews has brought it, the MiniLM of the
demo, with either pooling, every objective, single texts and pairs, with LoRA; pictures on all ResNets. exports/main.go makes
them, exports each in every format that has a form for it, and writes Thaw's own logits for rows of examples/reviews and for
pictures of several sizes, in batches of up to 16. Here each export is loaded as its README says: transformers with every key
in place and AutoTokenizer, torchvision strictly, ONNX through onnx.checker, strict shape inference and onnxruntime. Tokens are
made here too, so that other ids would show. The programs in the READMEs run, and their front matter is what the hub reads.
Exits with 1 when a logit differs by more than --most of the largest, or anything does not load.

Run on Python 3.11 with torch 2.11.0, torchvision 0.26.0, transformers 5.17.0, onnx 1.23.2, onnxruntime 1.32.0, and Go (make peers).
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
import transformers
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = [1, 3, 16]
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def reviews():
    """Rows of examples/reviews where it was prepared, and otherwise made ones; short, long, empty, odd."""
    table = ROOT / "examples/reviews/reviews.tsv"
    rows = ["a good film", "the movie is not very good , it is boring .", "great fun and no bad idea in it " * 3] * 8
    if table.exists():
        lines = table.read_text("utf-8").splitlines()
        column = lines[0].split("\t").index("snippet")
        rows = [line.split("\t")[column] for line in lines[1:400:17]]
    odd = ["", "[MASK] ##s 日本 naïve \t é", "word " * 90, "!"]
    return sorted(rows, key=len)[:20] + odd


def pictures(folder):
    """Pictures of several sizes, smooth and noisy."""
    rng, paths = np.random.default_rng(0), []
    for k, (wide, high) in enumerate([(96, 96), (200, 120), (97, 301), (640, 480), (110, 96), (64, 64)]):
        small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((wide, high), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(small, np.int64) + rng.integers(-20, 20, (high, wide, 3)), 0, 255).astype(np.uint8)
        paths.append(str(folder / f"{k}.png"))
        Image.fromarray(noisy).save(paths[-1])
    return paths


def berts(folder):
    tiny = folder / "tiny"
    tiny.mkdir()
    config = json.loads((ROOT / "text/testdata/tiny/config.json").read_text())
    (tiny / "config.json").write_text(json.dumps(config | {"initializer_range": 0.3}))
    shutil.copy(ROOT / "text/testdata/tiny/vocab.txt", tiny)
    shutil.copy(ROOT / "text/testdata/tiny/bare.safetensors", tiny / "model.safetensors")
    found = {"tiny": str(tiny)}
    real = ROOT / "examples/reviews/data/model"
    if (real / "model.safetensors").exists():
        found["minilm"] = str(real)
    else:
        print("examples/reviews/data/model is not there (make reviews): the real MiniLM is left out")
    return found


def batches(n, size):
    return [range(i, min(i + size, n)) for i in range(0, n, size)]


class Texts:
    def __init__(self, folder, rows, classes):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.rows = rows
        if self.tokenizer.model_max_length > 64:
            sys.exit(f"{folder}: model_max_length is {self.tokenizer.model_max_length}")

    def batch(self, rows):
        chosen = [self.rows[i] for i in rows]
        texts = list(zip(*chosen)) if isinstance(chosen[0], (list, tuple)) else [chosen]
        return self.tokenizer(*[list(t) for t in texts], truncation=True, padding=True, return_token_type_ids=True, return_tensors="pt")


def transformers_texts(folder, case, rows):
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    whole(folder, info)
    config = model.config
    if [config.id2label[i] for i in range(config.num_labels)] != case["Classes"] or config.problem_type != case["Problem"]:
        sys.exit(f"{folder}: {config.id2label}, {config.problem_type}")
    texts = Texts(folder, rows, case["Classes"])
    model.eval()
    return lambda r: model(**texts.batch(r)).logits.numpy()


def whole(folder, info):
    bad = {k: v for k, v in info.items() if v}
    if bad:
        sys.exit(f"{folder}: {bad}")


def session(folder, inputs, metadata):
    path = str(folder / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True, data_prop=True)
    operators = {n.op_type for n in model.graph.node}
    if {o.domain for o in model.opset_import} != {""} or model.opset_import[0].version != 17:
        sys.exit(f"{path}: {model.opset_import}")
    s = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if [i.name for i in s.get_inputs()] != inputs or [o.name for o in s.get_outputs()] != ["logits"]:
        sys.exit(f"{path}: {[i.name for i in s.get_inputs()]}, {[o.name for o in s.get_outputs()]}")
    props = s.get_modelmeta().custom_metadata_map
    for key, want in metadata.items():
        if (json.loads(props[key]) if key == "classes" else props[key]) != want:
            sys.exit(f"{path}: {key} is {props[key]!r}, not {want!r}")
    return s, operators


def onnx_texts(folder, case, rows):
    names = ["input_ids", "attention_mask", "token_type_ids"]
    s, _ = session(folder, names, {"classes": case["Classes"], "problem_type": case["Problem"]})
    texts = Texts(folder, rows, case["Classes"])

    def run(r):
        batch = texts.batch(r)
        return s.run(["logits"], {n: batch[n].numpy() for n in names})[0]
    return run


def prepared(config, paths):
    t = config | {"interpolation": InterpolationMode(config["interpolation"])}
    prepare = ImageClassification(**t)
    return torch.stack([prepare(Image.open(p).convert("RGB")) for p in paths])


TRANSFORMS = dict(crop_size=96, resize_size=110, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], interpolation="bilinear", antialias=True)


def torchvision_pictures(folder, case, rows):
    config = json.loads((folder / "config.json").read_text())["torchvision"]
    model = torchvision.models.get_model(config["architecture"], num_classes=config["num_classes"])
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    x = prepared(config["transforms"], rows)
    model.eval()
    return lambda r: model(x[list(r)]).numpy()


def transformers_pictures(folder, case, rows):
    model, info = transformers.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    whole(folder, info)
    x = prepared(TRANSFORMS, rows)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for path, pixels in zip(rows, x):
        image = Image.open(path).convert("RGB")
        if any((110 * side // min(image.size) - 96) % 2 for side in image.size):
            continue  # of an odd margin transformers cuts the smaller half, torchvision and Thaw the even one
        theirs = processor(image, return_tensors="pt")["pixel_values"][0]
        apart = (theirs - pixels).abs().max() * 0.229 * 255
        if apart > 2:  # levels of 255: transformers resizes by torchvision's kernels, Thaw and torchvision's transforms by Pillow's
            sys.exit(f"{path}: transformers' image processor differs by {apart:.2f} levels")
    model.eval()
    return lambda r: model(x[list(r)]).logits.numpy()


def onnx_pictures(folder, case, rows):
    s, _ = session(folder, ["pixel_values"], {"classes": case["Classes"], "problem_type": case["Problem"], "architecture": case["Name"]})
    x = prepared(json.loads(s.get_modelmeta().custom_metadata_map["transforms"]), rows).numpy()
    return lambda r: s.run(["logits"], {"pixel_values": x[list(r)]})[0]


def onnx_matrix(folder, case, rows):
    if not (folder / "model.onnx.data").exists():
        sys.exit(f"{folder} has no weights beside the graph")
    s, _ = session(folder, ["x"], {})
    return lambda r: s.run(["logits"], {"x": np.ones((len(r), 70), np.float32)})[0]


LOADERS = {
    ("texts", "transformers"): transformers_texts, ("pairs", "transformers"): transformers_texts, ("texts", "onnx"): onnx_texts,
    ("pairs", "onnx"): onnx_texts, ("pictures", "transformers"): transformers_pictures, ("pictures", "torchvision"): torchvision_pictures,
    ("pictures", "onnx"): onnx_pictures, ("matrix", "onnx"): onnx_matrix,
}


def check_card(folder, picture):
    """The model card: its front matter, and its program, which runs in the folder."""
    card = ModelCard.load(folder / "README.md")
    data = card.data.to_dict()
    if data["pipeline_tag"] not in ("text-classification", "image-classification", "object-detection") or "thaw" not in data["tags"]:
        sys.exit(f"{folder}: {data}")
    if re.search(r"(/tmp|/work|/root|/home)/", card.content):
        sys.exit(f"{folder}/README.md names a path of this machine")
    program = re.search(r"```python\n(.*?)```", card.content, re.S)[1]
    shutil.copy(picture, folder / "picture.png")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "HOME": str(folder)})
    if done.returncode:
        sys.exit(f"{folder}/README.md: its program fails:\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--most", type=float, default=1e-5)
    p.add_argument("--only", default="", help="a part of the name of the models to check")
    p.add_argument("--keep", help="a new folder to work in, which stays")
    in_folder(check, p.parse_args())


def in_folder(check, a):
    """Calls check with the folder that --keep names, or with one that goes."""
    if a.keep:
        pathlib.Path(a.keep).mkdir()
        return check(pathlib.Path(a.keep).resolve(), a)
    with tempfile.TemporaryDirectory() as folder:
        check(pathlib.Path(folder), a)


def check(folder, a):
    torch.set_num_threads(2)
    texts = reviews()
    inputs = {"Texts": texts, "Pairs": [[t, u if u.strip() else "."] for t, u in zip(texts, reversed(texts))], "Pictures": pictures(folder),
              "BERTs": berts(folder), "BatchSizes": SIZES, "Only": a.only}
    (folder / "inputs.json").write_text(json.dumps(inputs))
    subprocess.run(["go", "run", "./peers/exports", folder], cwd=ROOT / "bench", check=True)
    rows = {"texts": texts, "pairs": inputs["Pairs"], "pictures": inputs["Pictures"], "matrix": [0, 1, 2]}
    worst, programs = 0.0, set()
    cases = json.loads((folder / "cases.json").read_text())
    for case in sorted(cases, key=lambda c: c["Name"]):
        for form, path in case["Folders"].items():
            path = pathlib.Path(path)
            with torch.no_grad():
                run = LOADERS[case["Kind"], form](path, case, rows[case["Kind"]])
                apart = 0.0
                for size, want in case["Logits"].items():
                    want = np.array(want, np.float32)
                    got = np.concatenate([run(r) for r in batches(len(want), int(size))])
                    apart = max(apart, float(np.abs(got - want).max() / np.abs(want).max()))
            kind = (case["Kind"], form, case["Problem"], case["Name"].split("-")[0] if case["Kind"] != "pictures" else "")
            said = ""
            if case["Kind"] != "matrix" and kind not in programs:
                programs.add(kind)
                said = "  README: " + check_card(path, inputs["Pictures"][3]).replace("\n", " ")[:60]
            worst = max(worst, apart)
            print(f"{case['Name']:26} {form:12} {apart:.1e}{said}", flush=True)
    print(f"{len(cases)} models, largest difference {worst:.1e} of the largest logit")
    sys.exit(not worst <= a.most)


if __name__ == "__main__":
    main()
