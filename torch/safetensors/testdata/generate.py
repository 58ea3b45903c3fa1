"""Makes the goldens of package safetensors with the reference implementation, and checks that the
reference reads back what this package writes.

    python generate.py            writes *.safetensors beside this script
    python generate.py check DIR  reads every golden and its copy in DIR; `go test -run TestGolden
                                  -keep DIR` leaves the copies there

Run on Python 3.11 with torch 2.11.0 and safetensors 0.8.0.
"""
import pathlib
import sys

import safetensors
import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float4_e2m1fn_x2",
]


def pattern(dtype, *shape):
    """Bytes 0, 1, 2, ... (0, 1, 0, ... for bool) seen as dtype: easy to make again in Go."""
    d = getattr(torch, dtype)
    n = d.itemsize
    for s in shape:
        n *= s
    raw = torch.arange(n, dtype=torch.int64).remainder(2 if dtype == "bool" else 251).to(torch.uint8)
    return raw.view(d).reshape(shape) if n else torch.empty(shape, dtype=d)


GOLDENS = {
    "dtypes": ({f"x.{d}": pattern(d, 2, 3) for d in DTYPES}, None),
    "shapes": (
        {
            "scalar": pattern("float32"),
            "empty": pattern("float32", 0),
            "empty_inside": pattern("float16", 3, 0, 2),
            "one": pattern("int64", 1),
            "deep": pattern("bfloat16", 1, 2, 1, 3, 1, 2),
            "odd": pattern("uint8", 5),
            "after_odd": pattern("bool", 3),
        },
        {"format": "pt"},
    ),
    "names": (
        {
            "encoder.layer.10.weight": pattern("float32", 2),
            "encoder.layer.2.weight": pattern("float32", 2),
            "": pattern("float32", 1),
            "é\u2028\u0001\u007f/<>&'\"\\\n\b\f\r\t☃😀": pattern("float32", 1),
            "Z": pattern("float32", 1),
            "a": pattern("float32", 1),
        },
        {"k\n\u001f": "v\"\u2029<"},
    ),
    # Not ({}, {}): for that, safetensors 0.8.0 writes `{},"__metadata__":{}}`, which is not JSON.
    "no_tensors": ({}, None),
    "empty_metadata": ({"a": pattern("uint8")}, {}),
}

if __name__ == "__main__":
    assert safetensors.__version__ == "0.8.0", safetensors.__version__
    if sys.argv[1:2] == ["check"]:
        for name in GOLDENS:
            want, got = (load_file(d / f"{name}.safetensors") for d in (HERE, pathlib.Path(sys.argv[2])))
            assert want.keys() == got.keys(), name
            for k in want:
                assert want[k].dtype == got[k].dtype and want[k].shape == got[k].shape, (name, k)
                assert torch.equal(want[k].reshape(-1).view(torch.uint8), got[k].reshape(-1).view(torch.uint8)), (name, k)
            print(name, len(got), "tensors equal")
    else:
        for name, (tensors, metadata) in GOLDENS.items():
            save_file(tensors, HERE / f"{name}.safetensors", metadata)
