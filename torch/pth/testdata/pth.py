"""Makes the goldens of package pth with PyTorch's torch.save, and expect.json with what they hold.

    python pth.py     writes *.pth, refused/*.pth and expect.json beside this script

The values in expect.json come from the tensors in memory, as the bytes of their elements in row-major order.
Run on Python 3.11 with torch 2.11.0 and numpy.
"""
import argparse
import collections
import json
import pathlib
import sys
import zipfile

import numpy
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
LEGACY = {"_use_new_zipfile_serialization": False}
DTYPES = ("bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex32 complex64 complex128 uint16 "
          "uint32 uint64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2").split()


def raw(t):
    """The bytes of t's elements in row-major order."""
    return bytes(t.detach().contiguous().flatten().view(torch.uint8).tolist()) if t.numel() else b""


def pattern(dtype, *shape):
    """Bytes 0, 1, 2, ... (0, 1, 0, ... for bool) seen as dtype."""
    d = getattr(torch, dtype)
    n = d.itemsize
    for s in shape:
        n *= s
    return torch.arange(n).remainder(2 if dtype == "bool" else 251).to(torch.uint8).view(d).reshape(shape)


def dtypes():
    return {d: pattern(d, 2, 3) for d in DTYPES}


def views():
    base = torch.arange(24, dtype=torch.float32)
    tagged, attributed = nn.Parameter(torch.randn(2)), torch.randn(3)
    tagged.tag, attributed.tag = 1, "x"
    return collections.OrderedDict(
        base=base, shared=base, part=base[5:11], matrix=base.view(4, 6), transposed=base.view(4, 6).t(),
        permuted=base.view(2, 3, 4).permute(2, 0, 1), strided=base[1::3], column=base.view(4, 6)[:, 2],
        inner=base.view(2, 3, 4)[:, 1:, 1:3], expanded=torch.tensor([1.5, 2.5]).expand(3, 2), repeated=torch.ones(1).expand(4),
        rows=base.view(4, 6)[::2], overlapping=base.as_strided((3, 4), (2, 1)), scalar=torch.tensor(-1.5), item=base[7],
        empty=torch.zeros(0), empty_inside=torch.zeros(3, 0, 2), empty_part=base[3:3], ones=base.view(1, 24, 1)[:, :5],
        wide=torch.arange(12).view(3, 4).t(), bytes=torch.arange(12, dtype=torch.uint8).view(3, 4).t(),
        doubles=torch.arange(6).to(torch.complex128).view(2, 3).t(),
        parameter=nn.Parameter(torch.randn(2, 2)), buffer=nn.Buffer(torch.randn(2)), tagged=tagged, attributed=attributed)


def values():
    """Everything but tensors that is read."""
    return {"a": torch.arange(3), "epoch": 3, "loss": 0.25, "seed": 2**64 - 1, "negative": -2**40, "huge": 2**600, "none": None,
            "yes": True, "no": False, "text": "é☃", "long": "x" * 300, "bytes": b"\x00\xff", "no_bytes": b"", "many_bytes": b"ab" * 200,
            "array": bytearray(b"abc"), "list": [1, [2, "x"]], "tuple": (1, (2.5, 3, 4), ()), "set": {1, 2}, "frozen": frozenset([1]),
            "complex": 1 + 2j, "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cuda:0"),
            "counter": collections.Counter([30, 60]), "ordered": collections.OrderedDict(x=1), "short": 70000, "minus": -5, 5: 6,
            "many": list(range(1500))}


class Extra(nn.Module):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass


def model():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), Extra(), nn.Linear(3, 2))


def training(state):
    m = model()
    optimizer = torch.optim.AdamW(m.parameters())
    m[3](m[1](m[0](torch.randn(2, 2, 3, 3))).flatten(1)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60])
    return {"epoch": torch.tensor(3), "arch": "tiny", "best": 0.5, "optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict(),
            "ema": m.state_dict(), state: m.state_dict(), "rng": torch.get_rng_state()[:16].clone()}


def parallel(state):
    return collections.OrderedDict(("module." + k, v) for k, v in state.items())


# name: object, arguments of torch.save, the state dict in it.
def goldens():
    torch.manual_seed(0)
    d, v, t, m = dtypes(), views(), training("state_dict"), training("model")
    yield "dtypes", d, {}, d
    yield "dtypes_legacy", d, LEGACY, d
    yield "views", v, {}, v
    yield "views_legacy", v, LEGACY, v
    for protocol in range(1, 6):
        yield f"protocol{protocol}", values() | v, {"pickle_protocol": protocol}, values() | v
        yield f"protocol{protocol}_legacy", values(), {"pickle_protocol": protocol} | LEGACY, values()
    state = model().state_dict()
    assert state._metadata
    yield "model", state, {}, state
    yield "model_legacy", state, LEGACY, state
    yield "training", t, {}, t["state_dict"]
    yield "training_legacy", m, LEGACY, m["model"]
    yield "parallel", parallel(state), {}, parallel(state)
    nested = {"model": {"epoch": 1, "net": parallel(state)}}
    yield "nested", nested, {}, parallel(state)
    m = model().state_dict()
    yield "namespace", {"args": argparse.Namespace(lr=0.1), "state_dict": m}, {}, m
    yield "numpy", {"best": numpy.float64(0.5), "state_dict": m}, {}, m
    yield "no_checksums", v, {}, v
    yield "repacked", state, {}, state


def refused():
    torch.manual_seed(0)
    m = model()
    yield "module", m[3], {}
    yield "module_legacy", m[3], LEGACY
    yield "sparse", {"a": torch.eye(2).to_sparse()}, {}
    yield "conjugate", {"a": torch.zeros(2, dtype=torch.complex64).conj()}, {}
    yield "negated", {"a": torch.zeros(2, dtype=torch.complex64).conj().imag}, {}
    yield "quantized", {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, {}
    yield "meta", {"a": torch.zeros(2, device="meta")}, {}
    yield "tensor", torch.zeros(2), {}
    yield "list", [torch.zeros(2)], {}
    yield "numbers", {"epoch": 1, "lr": 0.1}, {}
    yield "torchscript", torch.jit.script(nn.Linear(2, 2)), None


def repack(path):
    """The same archive as Python's zipfile writes it, with data.pkl compressed."""
    with zipfile.ZipFile(path) as old:
        records = [(i.filename, old.read(i)) for i in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, content in records:
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if name.endswith("data.pkl") else zipfile.ZIP_STORED)


if __name__ == "__main__":
    (HERE / "refused").mkdir(exist_ok=True)
    expect = {}
    for name, obj, kwargs, state in goldens():
        torch.serialization.set_crc32_options(name != "no_checksums")
        torch.save(obj, HERE / f"{name}.pth", **kwargs)
        if name == "repacked":
            repack(HERE / f"{name}.pth")
        expect[name] = {
            "others": [k if isinstance(k, str) else "an int" for k, x in state.items() if not isinstance(x, torch.Tensor)],
            "tensors": [[k, str(x.dtype)[6:], list(x.shape), list(x.stride()), x.storage_offset(), raw(x).hex()]
                        for k, x in state.items() if isinstance(x, torch.Tensor)],
        }
    torch.serialization.set_crc32_options(True)
    for name, obj, kwargs in refused():
        path = HERE / "refused" / f"{name}.pth"
        torch.jit.save(obj, path) if kwargs is None else torch.save(obj, path, **kwargs)
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": numpy.__version__}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expect.items())
    (HERE / "expect.json").write_text(f'{{"versions": {json.dumps(versions)},\n"files": {{\n{lines}\n}}}}\n')
    for path in HERE.rglob("*.pth"):
        path.chmod(0o644)
