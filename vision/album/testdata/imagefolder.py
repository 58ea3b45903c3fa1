"""Makes imagefolder.json: a folder's files, and the classes and samples that torchvision's ImageFolder finds there.

    python imagefolder.py
"""
import json
import os
import tempfile

import torchvision
from torchvision.datasets import ImageFolder

here = os.path.dirname(os.path.abspath(__file__))
files = [
    "zebra/b.jpg", "zebra/a.PNG", "zebra/a.jpeg", "zebra/B.Jpg", "zebra/notes.txt",
    "10/x.tif", "9/x.TIFF", "9/y.webp", "9/9.bmp", "Ape/1.png",
    "ape/deep/er/1.png", "ape/deep-1/1.png", "ape/deep/1.png", "ape/deep/z.png", "ape/deep_1/1.png", "ape/0.png",
    "ape/deep/2.png", "ape/deep/10.png", "ape/Deep/1.png", "ape/z.png",
    "été/ü.png", "été/u.png", "été/日.png", "été/a b.png", "README.md",
]
links = {"ape/more": "elsewhere/more", "cub": "elsewhere/cub"}
linked = ["elsewhere/more/m.png", "elsewhere/cub/deep/c.png", "elsewhere/cub/d.png"]

with tempfile.TemporaryDirectory() as top:
    root = os.path.join(top, "pictures")
    for f in [os.path.join("pictures", f) for f in files] + linked:
        path = os.path.join(top, f)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").close()
    for name, target in links.items():
        os.symlink(os.path.join(top, target), os.path.join(root, name))
    d = ImageFolder(root)
    golden = {
        "versions": {"torchvision": torchvision.__version__},
        "files": [os.path.join("pictures", f) for f in files] + linked,
        "links": {os.path.join("pictures", k): v for k, v in links.items()},
        "classes": d.classes,
        "samples": [[os.path.relpath(p, root), c] for p, c in d.samples],
    }
with open(os.path.join(here, "imagefolder.json"), "w") as f:
    json.dump(golden, f, ensure_ascii=False, indent=1)
    f.write("\n")
