"""Writes tiny/bert_prefix.bin: tiny/bert_prefix.safetensors as transformers saved models before safetensors, for
text/load_test.go.

Run on Python 3.11 with torch 2.11.0 and safetensors 0.8.0: python pickled.py
"""
import pathlib

import torch
from safetensors.torch import load_file

TINY = pathlib.Path(__file__).parent / "tiny"
path = TINY / "bert_prefix.bin"
torch.save(load_file(TINY / "bert_prefix.safetensors"), path)
path.chmod(0o644)
print(path.stat().st_size, "bytes")
