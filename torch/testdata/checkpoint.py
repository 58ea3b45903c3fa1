"""Writes checkpoint.safetensors: what the reference writes for tensors of every dtype, for torch/checkpoint_test.go; and
checkpoint.pth, checkpoint_legacy.pth and checkpoint_training.pth: the same by torch.save, not contiguous where it was
not, with one tensor of a dtype that Thaw lacks.

Run on Python 3.11 with torch 2.11.0 and safetensors 0.8.0: python checkpoint.py
"""
import pathlib

import torch
from safetensors.torch import save_file

PATH = pathlib.Path(__file__).with_name("checkpoint.safetensors")
DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
tensors = {"layer." + d: torch.tensor([[0, 1, 2], [3, 4, 100]]).to(getattr(torch, d)) for d in DTYPES}
tensors |= {"scalar": torch.tensor(-1.5), "empty": torch.empty(0, 3), "é": torch.tensor([float("inf"), -0.0, 1e-45]),
            "transposed": torch.arange(6, dtype=torch.float32).reshape(2, 3).t().contiguous()}
save_file(tensors, PATH, {"format": "pt"})
PATH.chmod(0o644)

tensors["transposed"] = tensors["transposed"].t().contiguous().t()
assert not tensors["transposed"].is_contiguous()
tensors["complex"] = torch.zeros(2, dtype=torch.complex64)
parallel = {"module." + k: v for k, v in tensors.items()}
for name, obj, new in (("", tensors, True), ("_legacy", tensors, False), ("_training", {"epoch": 3, "model": parallel}, True)):
    path = PATH.with_name(f"checkpoint{name}.pth")
    torch.save(obj, path, _use_new_zipfile_serialization=new)
    path.chmod(0o644)
print(len(tensors), "tensors")
