"""Writes ops.json.gz: for every operator that package torch wraps, what PyTorch gives for the same inputs, and the
gradients of the inputs. torch/ops_test.go holds the same calls in Go, under the same names.

Run with torch 2.11.0: python ops.py
"""
import base64
import gzip
import json
import os
import platform
from types import SimpleNamespace

import torch
import torch.nn.functional as F

g = torch.Generator().manual_seed(11)


def randn(*s):
    return torch.randn(*s, generator=g)


def uniform(lo, hi, *s):
    return torch.rand(*s, generator=g) * (hi - lo) + lo


def ints(lo, hi, *s):
    return torch.randint(lo, hi, s, generator=g)


m = randn(4, 4)
inputs = dict(
    A=randn(3, 4), B=randn(3, 4), C=randn(4), P=uniform(0.5, 2, 3, 4), U=uniform(-0.9, 0.9, 3, 4),
    M=m + 4 * torch.eye(4), S=m @ m.T + torch.eye(4), V=randn(4), T=randn(2, 3, 4), R=randn(2, 4, 3),
    Img=randn(2, 4, 6, 6), Ker=randn(3, 4, 3, 3), W=randn(5, 4), Bias=randn(5), Bias3=randn(3), Seq=randn(2, 3, 7),
    Ker1=randn(3, 3, 3), Vol=randn(1, 2, 4, 4, 4), Ker3=randn(3, 2, 2, 2, 2), KerT=randn(4, 3, 3, 3),
    Q=randn(2, 2, 5, 4), K=randn(2, 2, 5, 4), Val=randn(2, 2, 5, 4), Theta=randn(2, 2, 3),
    Grid=uniform(-0.9, 0.9, 2, 3, 3, 2), Logits=randn(5, 4), Prob=uniform(0.1, 0.9, 3, 4), Target=uniform(0, 1, 3, 4),
    X=randn(3), Y=randn(3), Flat=randn(10), G=randn(4), H=uniform(0.5, 1.5, 4), Z=randn(4),
    I=ints(0, 10, 3, 4), J=ints(1, 5, 3, 4), Idx=torch.tensor([2, 0, 2, 1, 0]), Cols=ints(0, 4, 3, 4),
    Cls=ints(0, 4, 5), Ids=ints(0, 5, 7), Reps=torch.tensor([1, 0, 2]), Mask=ints(0, 2, 3, 4).bool(),
    Mask2=ints(0, 2, 3, 4).bool(), Sign=torch.tensor([1.0, -1.0, 1.0]), Bad=torch.tensor([0.5, float("nan"), -1.0,
    float("inf"), -float("inf"), 0.0]), Sorted=torch.tensor([-1.0, 0.0, 0.5, 1.5]), Runs=torch.tensor([1, 1, 2, 3, 3, 1]),
)
cpu = torch.device("cpu")
f32, f64, i64 = torch.float32, torch.float64, torch.int64
C = {}


def gen():
    return torch.Generator().manual_seed(3)


# --- making tensors ---
C.update({
    "Empty": lambda x: torch.empty(2, 3, dtype=f64),
    "Zeros": lambda x: torch.zeros(2, 3),
    "Ones": lambda x: torch.ones(4, dtype=torch.int32),
    "Full": lambda x: torch.full((2, 2), 2.5, dtype=torch.bfloat16),
    "ZerosLike": lambda x: torch.zeros_like(x.I),
    "OnesLike": lambda x: torch.ones_like(x.A),
    "EmptyLike": lambda x: torch.empty_like(x.A),
    "FullLike": lambda x: torch.full_like(x.A, 7),
    "RandLike": lambda x: torch.rand_like(x.A),
    "RandnLike": lambda x: torch.randn_like(x.A),
    "ArangeStep": lambda x: torch.arange(1, 2, 0.25, dtype=f32),
    "Linspace": lambda x: torch.linspace(-1, 1, 7, dtype=f64),
    "Eye": lambda x: torch.eye(3),
    "Rand": lambda x: torch.rand(2, 3, generator=gen()),
    "Randn": lambda x: torch.randn(20, generator=gen()),
    "Randint": lambda x: torch.randint(-5, 5, (4, 4), generator=gen()),
    "Randperm": lambda x: torch.randperm(9, generator=gen()),
    "Normal_": lambda x: x.A.normal_(1, 2, generator=gen()),
    "Uniform_": lambda x: x.A.uniform_(-2, 2, generator=gen()),
    "Bernoulli_": lambda x: x.A.bernoulli_(0.3, generator=gen()),
    "Bernoulli": lambda x: torch.bernoulli(x.Prob, generator=gen()),
    "Multinomial": lambda x: torch.multinomial(x.Prob, 3, True, generator=gen()),
    "Tril": lambda x: x.M.tril(-1),
    "Triu": lambda x: x.M.triu(1),
    "TrilIndices": lambda x: torch.tril_indices(3, 4),
    "OneHot": lambda x: F.one_hot(x.Cls, 6),
    "Meshgrid": lambda x: torch.meshgrid(x.C, x.X, indexing="xy"),
    "Clone": lambda x: x.A.clone(),
    "CloneAs": lambda x: x.Img.clone(memory_format=torch.channels_last),
    "Detach": lambda x: x.A.detach(),
    "Detach_": lambda x: x.A.detach_(),
    "ViewAlias": lambda x: torch.ops.aten.alias(x.A),
    "Copy_": lambda x: x.A.copy_(x.C),
    "CopyAsync_": lambda x: x.A.copy_(x.B, non_blocking=True),
    "Contiguous": lambda x: x.A.t().contiguous(),
    "ContiguousAs": lambda x: x.Img.contiguous(memory_format=torch.channels_last),
    "PinMemory": lambda x: x.A.pin_memory(),
})
# --- shape ---
C.update({
    "View": lambda x: x.A.view(2, -1),
    "ViewDType": lambda x: x.A.view(torch.int32),
    "Reshape": lambda x: x.A.t().reshape(6, 2),
    "UnsafeView": lambda x: torch.ops.aten._unsafe_view(x.A, [4, 3]),
    "Expand": lambda x: x.C.expand(2, 3, -1),
    "ExpandAs": lambda x: x.C.expand_as(x.A),
    "Repeat": lambda x: x.C.repeat(2, 3),
    "RepeatInterleave": lambda x: x.A.repeat_interleave(2, 1),
    "RepeatInterleaveEach": lambda x: x.A.repeat_interleave(x.Reps, 0),
    "Permute": lambda x: x.T.permute(2, 0, 1),
    "Transpose": lambda x: x.T.transpose(0, -1),
    "T": lambda x: x.A.t(),
    "MT": lambda x: x.T.mT,
    "Squeeze": lambda x: x.A[:1].squeeze(),
    "SqueezeDim": lambda x: x.A[:1].squeeze(1),
    "Unsqueeze": lambda x: x.A.unsqueeze(1),
    "Unsqueeze_": lambda x: x.A.unsqueeze_(-1),
    "Flatten": lambda x: x.T.flatten(0, 1),
    "Unflatten": lambda x: x.A.unflatten(1, (2, 2)),
    "Movedim": lambda x: x.T.movedim(0, 2),
    "Flip": lambda x: x.T.flip(0, 2),
    "Roll": lambda x: x.A.roll((1, -2), (0, 1)),
    "Select": lambda x: x.T.select(1, -1),
    "Narrow": lambda x: x.A.narrow(1, 1, 2),
    "Slice": lambda x: x.A[:, 0:4:2],
    "Split": lambda x: x.A.split(3, 1),
    "SplitSizes": lambda x: x.A.split([1, 3], 1),
    "Chunk": lambda x: x.A.chunk(2, 0),
    "Unbind": lambda x: x.A.unbind(0),
    "Unfold": lambda x: x.Flat.unfold(0, 4, 3),
    "Diagonal": lambda x: x.T.diagonal(1, 1, 2),
    "AsStrided": lambda x: x.A.as_strided((2, 3), (1, 2)),
    "ViewAs": lambda x: x.A.view_as(x.B),
    "Cat": lambda x: torch.cat([x.A, x.B, x.P], 1),
    "Stack": lambda x: torch.stack([x.A, x.B], 1),
    "ConstantPad": lambda x: F.pad(x.A, (1, 2), value=9.0),
    "Pad": lambda x: F.pad(x.Seq, (2, 1), mode="reflect"),
    "PixelShuffle": lambda x: F.pixel_shuffle(x.Img, 2),
    "Im2Col": lambda x: F.unfold(x.Img, (3, 2), (1, 1), (1, 0), (2, 2)),
})
# --- indexing ---
C.update({
    "IndexSelect": lambda x: x.A.index_select(0, x.Idx),
    "IndexAdd": lambda x: x.A.index_add(0, x.Idx, x.Logits, alpha=2),
    "IndexAdd_": lambda x: x.A.index_add_(0, x.Idx, x.Logits, alpha=-1),
    "IndexCopy_": lambda x: x.A.index_copy_(0, x.Idx[:2], x.Logits[:2]),
    "IndexFill_": lambda x: x.A.index_fill_(0, x.Idx[:2], 3.5),
    "Gather": lambda x: x.A.gather(1, x.Cols),
    "Scatter": lambda x: x.A.scatter(1, torch.argsort(x.A, 1), x.B),
    "Scatter_": lambda x: x.A.scatter_(1, torch.argsort(x.B, 1), x.B),
    "ScatterValue_": lambda x: x.A.scatter_(1, x.Cols, 0.25),
    "ScatterAdd": lambda x: x.A.scatter_add(1, x.Cols, x.B),
    "ScatterAdd_": lambda x: x.A.scatter_add_(1, x.Cols, x.B),
    "ScatterReduce": lambda x: x.A.scatter_reduce(1, x.Cols, x.B, "amax"),
    "MaskedFill": lambda x: x.A.masked_fill(x.Mask, -1),
    "MaskedFillTensor": lambda x: x.A.masked_fill(x.Mask, x.C[0]),
    "MaskedFill_": lambda x: x.A.masked_fill_(x.Mask, 2.0),
    "MaskedSelect": lambda x: x.A.masked_select(x.Mask),
    "MaskedScatter": lambda x: x.A.masked_scatter(x.Mask, x.B),
    "Take": lambda x: x.A.take(x.Ids),
    "TakeAlongDim": lambda x: x.A.take_along_dim(x.Cols, 1),
    "Where": lambda x: torch.where(x.Mask, x.A, x.C),
    "WhereScalarOther": lambda x: torch.where(x.Mask, x.A, 0.5),
    "WhereScalarSelf": lambda x: torch.where(x.Mask, 0.5, x.A),
    "Nonzero": lambda x: x.Mask.nonzero(),
    "Argwhere": lambda x: torch.argwhere(x.Mask),
    "Searchsorted": lambda x: torch.searchsorted(x.Sorted, x.A, right=True),
    "Bucketize": lambda x: torch.bucketize(x.A, x.Sorted),
    "Bincount": lambda x: x.Ids.bincount(minlength=9),
    "UniqueConsecutive": lambda x: x.Runs.unique_consecutive(True, True),
    "Unique": lambda x: x.Runs.unique(True, True, True),
})
# --- arithmetic ---
C.update({
    "Add": lambda x: x.A + x.B, "Add/broadcast": lambda x: x.A + x.C, "Add/promotes": lambda x: x.I + x.A,
    "AddScaled": lambda x: x.A.add(x.B, alpha=-0.5),
    "AddScalar": lambda x: x.A + 2, "AddScalar/ints": lambda x: x.I + 2, "AddScalar/ints to floats": lambda x: x.I + 2.5,
    "Add_": lambda x: x.A.add_(x.C), "AddScaled_": lambda x: x.A.add_(x.B, alpha=3), "AddScalar_": lambda x: x.A.add_(1.5),
    "Sub": lambda x: x.A - x.B, "SubScalar": lambda x: x.A - 2, "Sub_": lambda x: x.A.sub_(x.B),
    "SubScalar_": lambda x: x.A.sub_(2), "RSubScalar": lambda x: 1 - x.A,
    "Mul": lambda x: x.A * x.B, "MulScalar": lambda x: x.A * 3, "Mul_": lambda x: x.A.mul_(x.B),
    "MulScalar_": lambda x: x.A.mul_(0.5),
    "Div": lambda x: x.A / x.P, "Div/ints": lambda x: x.I / x.J, "DivScalar": lambda x: x.A / 3,
    "Div_": lambda x: x.A.div_(x.P), "DivScalar_": lambda x: x.A.div_(3),
    "DivRounded": lambda x: x.A.div(x.P, rounding_mode="floor"),
    "DivScalarRounded": lambda x: x.A.div(0.3, rounding_mode="trunc"),
    "FloorDivide": lambda x: x.I // x.J, "RemainderScalar": lambda x: x.A % 0.7, "Remainder": lambda x: x.A % x.P,
    "FmodScalar": lambda x: x.A.fmod(0.7), "PowScalar": lambda x: x.A ** 3, "Pow": lambda x: x.P ** x.A,
    "ScalarPow": lambda x: 2 ** x.A, "Neg": lambda x: -x.A, "Neg_": lambda x: x.A.neg_(), "Abs": lambda x: x.A.abs(),
    "Sign": lambda x: x.A.sign(), "Square": lambda x: x.A.square(), "Sqrt": lambda x: x.P.sqrt(),
    "Sqrt_": lambda x: x.P.sqrt_(), "Rsqrt": lambda x: x.P.rsqrt(), "Reciprocal": lambda x: x.P.reciprocal(),
    "Exp": lambda x: x.A.exp(), "Exp_": lambda x: x.A.exp_(), "Exp2": lambda x: x.A.exp2(),
    "Expm1": lambda x: x.A.expm1(), "Log": lambda x: x.P.log(), "Log2": lambda x: x.P.log2(),
    "Log10": lambda x: x.P.log10(), "Log1p": lambda x: x.P.log1p(), "Sin": lambda x: x.A.sin(),
    "Cos": lambda x: x.A.cos(), "Tan": lambda x: x.U.tan(), "Atan": lambda x: x.A.atan(),
    "Atan2": lambda x: x.A.atan2(x.B), "Tanh": lambda x: x.A.tanh(), "Erf": lambda x: x.A.erf(),
    "Erfinv": lambda x: x.U.erfinv(), "Floor": lambda x: x.A.floor(), "Ceil": lambda x: x.A.ceil(),
    "Round": lambda x: x.A.round(), "RoundDecimals": lambda x: x.A.round(decimals=1), "Trunc": lambda x: x.A.trunc(),
    "Frac": lambda x: x.A.frac(), "Lerp": lambda x: x.A.lerp(x.B, 0.3), "Lerp_": lambda x: x.A.lerp_(x.B, 0.3),
    "LerpTensor": lambda x: x.A.lerp(x.B, x.Prob), "Addcmul": lambda x: x.A.addcmul(x.B, x.P, value=0.5),
    "Addcmul_": lambda x: x.A.addcmul_(x.B, x.P, value=0.5), "Addcdiv": lambda x: x.A.addcdiv(x.B, x.P, value=-2),
    "Addcdiv_": lambda x: x.A.addcdiv_(x.B, x.P, value=-2), "Clamp": lambda x: x.A.clamp(-0.5, 0.5),
    "Clamp/open": lambda x: x.A.clamp(max=0.5), "Clamp_": lambda x: x.A.clamp_(min=0),
    "ClampTensor": lambda x: x.A.clamp(max=x.B), "ClampMin": lambda x: x.A.clamp_min(0.1),
    "ClampMax": lambda x: x.A.clamp_max(0.1), "Maximum": lambda x: x.A.maximum(x.B), "Minimum": lambda x: x.A.minimum(x.B),
    "NanToNum": lambda x: x.Bad.nan_to_num(7, 8, 9), "IsNaN": lambda x: x.Bad.isnan(), "IsInf": lambda x: x.Bad.isinf(),
    "IsFinite": lambda x: x.Bad.isfinite(), "Zero_": lambda x: x.A.zero_(), "Fill_": lambda x: x.A.fill_(4),
    "FillTensor_": lambda x: x.A.fill_(x.C[1]), "FillDiagonal_": lambda x: x.A.fill_diagonal_(1),
})
# --- comparison, logic, bits ---
C.update({
    "Eq": lambda x: x.I == x.J, "EqScalar": lambda x: x.I == 3, "Ne": lambda x: x.I != x.J, "NeScalar": lambda x: x.I != 3,
    "Lt": lambda x: x.A < x.B, "LtScalar": lambda x: x.A < 0, "Le": lambda x: x.I <= x.J, "LeScalar": lambda x: x.I <= 4,
    "Gt": lambda x: x.A > x.B, "GtScalar": lambda x: x.A > 0, "Ge": lambda x: x.I >= x.J, "GeScalar": lambda x: x.I >= 4,
    "Equal": lambda x: torch.equal(x.A, x.B), "Equal/same": lambda x: torch.equal(x.A, x.A.clone()),
    "AllClose": lambda x: torch.allclose(x.A, x.A + 1e-7), "AllClose/not": lambda x: torch.allclose(x.A, x.B),
    "IsClose": lambda x: torch.isclose(x.A, x.B, 0.5, 0.5), "IsIn": lambda x: torch.isin(x.I, x.Idx),
    "LogicalAnd": lambda x: x.Mask.logical_and(x.Mask2), "LogicalOr": lambda x: x.Mask.logical_or(x.Mask2),
    "LogicalXor": lambda x: x.Mask.logical_xor(x.Mask2), "LogicalNot": lambda x: x.Mask.logical_not(),
    "BitwiseAnd": lambda x: x.I & x.J, "BitwiseOr": lambda x: x.I | x.J, "BitwiseXor": lambda x: x.I ^ x.J,
    "BitwiseNot": lambda x: ~x.I, "BitwiseLeftShift": lambda x: x.I << 2, "BitwiseRightShift": lambda x: x.I >> 1,
})
# --- reduction ---
C.update({
    "Sum": lambda x: x.T.sum(), "SumAs": lambda x: x.A.sum(dtype=f64), "SumDim": lambda x: x.T.sum((0, 2)),
    "SumKeepDim": lambda x: x.T.sum(1, True), "Mean": lambda x: x.A.mean(), "MeanDim": lambda x: x.T.mean((0, -1)),
    "MeanKeepDim": lambda x: x.T.mean(-1, True), "Prod": lambda x: x.A.prod(), "ProdDim": lambda x: x.A.prod(1),
    "Std": lambda x: x.A.std(1, correction=1, keepdim=True), "Std/all": lambda x: x.A.std(),
    "Var": lambda x: x.A.var(0, correction=0), "VarMean": lambda x: torch.var_mean(x.A, 1),
    "Max": lambda x: x.A.max(), "MaxDim": lambda x: x.A.max(1), "MaxKeepDim": lambda x: x.A.max(0, True),
    "Min": lambda x: x.A.min(), "MinDim": lambda x: x.A.min(1), "MinKeepDim": lambda x: x.A.min(0, True),
    "Amax": lambda x: x.T.amax((0, 1)), "AmaxKeepDim": lambda x: x.T.amax(-1, True), "Amin": lambda x: x.T.amin(1),
    "Aminmax": lambda x: torch.aminmax(x.A), "Argmax": lambda x: x.A.argmax(1), "Argmin": lambda x: x.A.argmin(0),
    "ArgmaxAll": lambda x: x.A.argmax(), "Any": lambda x: x.Mask.any(), "AnyDim": lambda x: x.Mask.any(1),
    "All": lambda x: x.Mask.all(), "AllDim": lambda x: x.Mask.all(0), "Norm": lambda x: x.A.norm(3),
    "NormDim": lambda x: x.A.norm(2, dim=1), "VectorNorm": lambda x: torch.linalg.vector_norm(x.A, 1, 0, True),
    "LogSumExp": lambda x: x.A.logsumexp(1), "Cumsum": lambda x: x.A.cumsum(1), "Cumprod": lambda x: x.A.cumprod(0),
    "Median": lambda x: x.A.median(), "Quantile": lambda x: x.A.quantile(x.Prob[0], 1),
    "Topk": lambda x: x.A.topk(2, 1), "Sort": lambda x: x.A.sort(1, True), "SortStable": lambda x: x.I.sort(dim=1, stable=True),
    "Argsort": lambda x: x.A.argsort(0), "KthValue": lambda x: x.A.kthvalue(2, 1),
    "CountNonzero": lambda x: x.I.count_nonzero(), "Histc": lambda x: x.A.histc(5, -2, 2), "Diff": lambda x: x.A.diff(2, 1),
})
# --- linear algebra ---
C.update({
    "MM": lambda x: x.A.mm(x.M), "BMM": lambda x: x.T.bmm(x.R), "MatMul": lambda x: x.T @ x.M, "MV": lambda x: x.A.mv(x.C),
    "Dot": lambda x: x.C.dot(x.V), "Outer": lambda x: x.C.outer(x.X), "Addmm": lambda x: x.A.addmm(x.B, x.M, beta=0.5, alpha=2),
    "Baddbmm": lambda x: torch.baddbmm(x.X, x.T, x.R, beta=2, alpha=0.5),
    "Linear": lambda x: F.linear(x.A, x.W, x.Bias), "Linear/no bias": lambda x: F.linear(x.T, x.W),
    "Einsum": lambda x: torch.einsum("bij,kj->bik", x.T, x.W), "Cdist": lambda x: torch.cdist(x.A, x.W, 2),
    "LinalgNorm": lambda x: torch.linalg.norm(x.A), "LinalgInv": lambda x: torch.linalg.inv(x.M),
    "LinalgSolve": lambda x: torch.linalg.solve(x.M, x.A.t()),
    "LinalgSVD": lambda x: [torch.linalg.svd(x.A, full_matrices=False)[1]],
    "LinalgQR": lambda x: torch.linalg.qr(x.M), "LinalgEigh": lambda x: [torch.linalg.eigh(x.S)[0]],
    "LinalgDet": lambda x: torch.linalg.det(x.M), "Cross": lambda x: torch.cross(x.X, x.Y, dim=0),
    "Kron": lambda x: torch.kron(x.X, x.C), "Trace": lambda x: x.M.trace(),
})
# --- activations ---
C.update({
    "ReLU": lambda x: x.A.relu(), "ReLU_": lambda x: x.A.relu_(), "ReLU6": lambda x: F.relu6(x.A * 5),
    "LeakyReLU": lambda x: F.leaky_relu(x.A, 0.2), "PReLU": lambda x: F.prelu(x.A, x.C), "ELU": lambda x: F.elu(x.A, 1.5),
    "GELU": lambda x: F.gelu(x.A), "GELUTanh": lambda x: F.gelu(x.A, approximate="tanh"), "SiLU": lambda x: F.silu(x.A),
    "SiLU_": lambda x: F.silu(x.A, inplace=True), "Mish": lambda x: F.mish(x.A), "Sigmoid": lambda x: x.A.sigmoid(),
    "Sigmoid_": lambda x: x.A.sigmoid_(), "LogSigmoid": lambda x: F.logsigmoid(x.A), "HardSwish": lambda x: F.hardswish(x.A),
    "HardSigmoid": lambda x: F.hardsigmoid(x.A), "HardTanh": lambda x: F.hardtanh(x.A, -0.3, 0.7),
    "Softplus": lambda x: F.softplus(x.A, 2, 1), "Softmax": lambda x: x.A.softmax(-1),
    "SoftmaxAs": lambda x: x.A.softmax(0, dtype=f64), "LogSoftmax": lambda x: x.A.log_softmax(1),
    "LogSoftmaxAs": lambda x: x.A.log_softmax(1, dtype=f64), "GLU": lambda x: F.glu(x.A, 1),
    "Threshold": lambda x: F.threshold(x.A, 0.1, 20), "GELUBackward": lambda x: torch.ops.aten.gelu_backward(x.B, x.A),
    "ThresholdBackward": lambda x: torch.ops.aten.threshold_backward(x.B, x.A, 0),
})
# --- layers ---
C.update({
    "Dropout": lambda x: F.dropout(x.A, 0.5, True), "Dropout/eval": lambda x: F.dropout(x.A, 0.5, False),
    "NativeDropout": lambda x: torch.native_dropout(x.A, 0.3, True),
    "FeatureDropout": lambda x: torch.feature_dropout(x.Img, 0.5, True),
    "Embedding": lambda x: F.embedding(x.Ids, x.W, padding_idx=1),
    "EmbeddingBagPadded": lambda x: [torch.embedding_bag(x.W, x.Ids, torch.tensor([0, 3]), False, 1, False, None, False, 1)[0]],
    "LayerNorm": lambda x: F.layer_norm(x.T, (4,), x.C, x.V, 1e-6), "LayerNorm/plain": lambda x: F.layer_norm(x.T, (3, 4)),
    "NativeLayerNorm": lambda x: torch.native_layer_norm(x.T, (4,), x.C, x.V, 1e-5),
    "RMSNorm": lambda x: F.rms_norm(x.T, (4,), x.C, 1e-6), "GroupNorm": lambda x: F.group_norm(x.Img, 2, x.C, x.V),
    "BatchNorm": lambda x: F.batch_norm(x.Img, x.Z.detach(), x.H.detach(), x.C, x.V, False, 0.1, 1e-5),
    "BatchNorm/training": lambda x: F.batch_norm(x.Img, None, None, x.C, x.V, True),
    "NativeBatchNorm": lambda x: torch.native_batch_norm(x.Img, x.C, x.V, None, None, True, 0.1, 1e-5),
    "Conv1d": lambda x: F.conv1d(x.Seq, x.Ker1, x.Bias3, 2, 1), "Conv2d": lambda x: F.conv2d(x.Img, x.Ker, x.Bias3, (2, 1), (1, 0)),
    "Conv2d/dilated": lambda x: F.conv2d(x.Img, x.Ker, None, dilation=2),
    "Conv3d": lambda x: F.conv3d(x.Vol, x.Ker3, x.Bias3, 2),
    "ConvTranspose2d": lambda x: F.conv_transpose2d(x.Img[:1, :, :3, :3], x.KerT, x.Bias3, 2, 1, 1),
    "Convolution": lambda x: torch.convolution(x.Img, x.Ker, x.Bias3, [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
    "MaxPool2d": lambda x: F.max_pool2d(x.Img, 3, 2, 1), "MaxPool2dWithIndices": lambda x: F.max_pool2d_with_indices(x.Img, 2),
    "AvgPool2d": lambda x: F.avg_pool2d(x.Img, 3, 2, 1, count_include_pad=False),
    "AdaptiveAvgPool2d": lambda x: F.adaptive_avg_pool2d(x.Img, (2, 3)),
    "AdaptiveMaxPool2d": lambda x: F.adaptive_max_pool2d(x.Img, (2, 3), return_indices=True),
    "UpsampleNearest2d": lambda x: F.interpolate(x.Img[:1, :2, :3, :3], (5, 4)),
    "UpsampleBilinear2d": lambda x: F.interpolate(x.Img[:1, :2, :3, :3], (5, 4), mode="bilinear", align_corners=True),
    "UpsampleBilinear2d/scale": lambda x: F.interpolate(x.Img[:1, :2, :3, :3], scale_factor=(2, 1.5), mode="bilinear"),
    "UpsampleBicubic2d": lambda x: F.interpolate(x.Img[:1, :2, :3, :3], (5, 4), mode="bicubic"),
    "UpsampleBilinear2dAntialias": lambda x: F.interpolate(x.Img, (3, 4), mode="bilinear", antialias=True),
    "UpsampleBicubic2dAntialias": lambda x: F.interpolate(x.Img, (3, 4), mode="bicubic", antialias=True),
    "GridSampler": lambda x: F.grid_sample(x.Img, x.Grid, align_corners=False),
    "AffineGrid": lambda x: F.affine_grid(x.Theta, (2, 1, 3, 2), align_corners=False),
    "ScaledDotProductAttention": lambda x: F.scaled_dot_product_attention(x.Q, x.K, x.Val),
    "ScaledDotProductAttention/causal": lambda x: F.scaled_dot_product_attention(x.Q, x.K, x.Val, is_causal=True),
})
# --- losses ---
C.update({
    "CrossEntropyLoss": lambda x: F.cross_entropy(x.Logits, x.Cls, x.H.detach(), label_smoothing=0.1),
    "CrossEntropyLoss/ignored": lambda x: F.cross_entropy(x.Logits, x.Cls, ignore_index=1, reduction="sum"),
    "NLLLoss": lambda x: F.nll_loss(x.Logits, x.Cls, reduction="none"), "MSELoss": lambda x: F.mse_loss(x.A, x.B),
    "L1Loss": lambda x: F.l1_loss(x.A, x.B, reduction="sum"), "SmoothL1Loss": lambda x: F.smooth_l1_loss(x.A, x.B, beta=0.5),
    "HuberLoss": lambda x: F.huber_loss(x.A, x.B, reduction="none", delta=0.7),
    "BinaryCrossEntropy": lambda x: F.binary_cross_entropy(x.Prob, x.Target.detach()),
    "BinaryCrossEntropyWithLogits": lambda x: F.binary_cross_entropy_with_logits(x.A, x.Target.detach(), pos_weight=x.H.detach()),
    "KLDiv": lambda x: F.kl_div(x.A, x.Prob, reduction="sum"), "CosineSimilarity": lambda x: F.cosine_similarity(x.A, x.B, 1, 1e-8),
    "CosineEmbeddingLoss": lambda x: F.cosine_embedding_loss(x.A, x.B, x.Sign, 0.2),
    "MarginRankingLoss": lambda x: F.margin_ranking_loss(x.X, x.Y, x.Sign, 0.5),
    "TripletMarginLoss": lambda x: F.triplet_margin_loss(x.A, x.B, x.P, 2.0),
})


# --- many tensors at once ---
def inplace(f):
    def run(x):
        l = [x.A, x.P]
        f(l, x)
        return l
    return run


def fused(op, n, **kw):
    """An optimizer's step on A and C with gradients B and V and zeroed state; returns parameters and state."""
    def run(x):
        params, grads = [x.A, x.C], [x.B, x.V]
        state = [[torch.zeros_like(p) for p in params] for _ in range(n)]
        steps = [torch.ones(()) for _ in params]
        if n == 2:
            op(params, grads, *state, [], steps, **kw)
        else:
            op(params, grads, *state, **kw)
        return params + sum(state, [])
    return run


adam = dict(lr=0.1, beta1=0.9, beta2=0.99, weight_decay=0.1, eps=1e-8, amsgrad=False, maximize=False)
sgd = dict(weight_decay=0.1, momentum=0.9, lr=0.1, dampening=0.0, nesterov=True, maximize=False, is_first_step=True)
aten = torch.ops.aten


def scale(growth, inf):
    s, tracker = torch.tensor([1024.0]), torch.tensor([growth], dtype=torch.int32)
    torch._amp_update_scale_(s, tracker, torch.tensor([inf]), 2.0, 0.5, 3)
    return [s, tracker]


def unscale(x):
    l, found = [x.A, x.Bad], torch.zeros(1)
    torch._amp_foreach_non_finite_check_and_unscale_(l, found, torch.tensor([0.5]))
    return [x.A, found]


C.update({
    "ForeachAdd_": inplace(lambda l, x: torch._foreach_add_(l, [x.B, x.U], alpha=2)),
    "ForeachAddScalar_": inplace(lambda l, x: torch._foreach_add_(l, 1.5)),
    "ForeachSub_": inplace(lambda l, x: torch._foreach_sub_(l, [x.B, x.U], alpha=1)),
    "ForeachMul_": inplace(lambda l, x: torch._foreach_mul_(l, [x.B, x.U])),
    "ForeachMulScalar_": inplace(lambda l, x: torch._foreach_mul_(l, 0.5)),
    "ForeachMulTensor_": inplace(lambda l, x: torch._foreach_mul_(l, torch.tensor(3.0))),
    "ForeachMulScalars_": inplace(lambda l, x: torch._foreach_mul_(l, [2.0, 3.0])),
    "ForeachMulScalar": lambda x: torch._foreach_mul([x.A, x.C], 4),
    "ForeachDivScalar_": inplace(lambda l, x: torch._foreach_div_(l, 4.0)),
    "ForeachDiv_": inplace(lambda l, x: torch._foreach_div_(l, [x.Prob, x.U])),
    "ForeachAddcmul_": inplace(lambda l, x: torch._foreach_addcmul_(l, [x.B, x.U], [x.Prob, x.B], 0.5)),
    "ForeachAddcdiv_": inplace(lambda l, x: torch._foreach_addcdiv_(l, [x.B, x.U], [x.Prob, x.Prob], 0.5)),
    "ForeachLerp_": inplace(lambda l, x: torch._foreach_lerp_(l, [x.B, x.U], 0.25)),
    "ForeachSqrt": lambda x: torch._foreach_sqrt([x.P, x.H]),
    "ForeachSqrt_": lambda x: (torch._foreach_sqrt_([x.P, x.H]), [x.P, x.H])[1],
    "ForeachNeg_": inplace(lambda l, x: torch._foreach_neg_(l)),
    "ForeachNorm": lambda x: torch._foreach_norm([x.A, x.T], 2),
    "ForeachCopy_": inplace(lambda l, x: torch._foreach_copy_(l, [x.B, x.U])),
    "ForeachZero_": inplace(lambda l, x: torch._foreach_zero_(l)),
    "FusedAdamW_": fused(aten._fused_adamw_, 2, **adam),
    "FusedAdamWTensorLR_": fused(aten._fused_adamw_.tensor_lr, 2, **{**adam, "lr": torch.tensor(0.1)}),
    "FusedAdam_": fused(aten._fused_adam_, 2, **adam),
    "FusedSGD_": fused(aten._fused_sgd_, 1, **sgd),
    "FusedSGDTensorLR_": fused(aten._fused_sgd_.tensor_lr, 1, **{**sgd, "lr": torch.tensor(0.1)}),
    "AmpUnscale_": unscale,
    "AmpUpdateScale_": lambda x: scale(2, 0.0), "AmpUpdateScale_/overflow": lambda x: scale(2, 1.0),
})


def store(t):
    t = t.detach().contiguous()
    return {"dtype": str(t.dtype)[6:], "shape": list(t.shape),
            "data": base64.b64encode(t.reshape(-1).view(torch.uint8).numpy().tobytes()).decode()}


def outputs(r):
    if isinstance(r, (bool, float, int)):
        return [torch.tensor(r)]
    return [r] if isinstance(r, torch.Tensor) else list(r)


def run(f, grad):
    leaves = {k: v.clone() for k, v in inputs.items()}
    if grad:
        for v in leaves.values():
            if v.is_floating_point():
                v.requires_grad_()
    torch.manual_seed(7)
    return leaves, outputs(f(SimpleNamespace(**{k: v.clone() for k, v in leaves.items()})))


cases, differentiable = {}, 0
for name, f in C.items():
    case = cases[name] = {}
    try:
        _, out = run(f, False)
        case["outputs"] = [store(t) for t in out]
    except RuntimeError as e:
        case["error"] = str(e).split("\n")[0]
        print(name, "fails:", case["error"])
    if "error" not in case and "AdamW" not in name and not name.startswith(("Fused", "Amp", "Empty")):
        leaves, out = run(f, True)
        roots = [t for t in out if t.requires_grad]
        if roots:
            # Weights that differ, so that a gradient in the wrong order shows.
            loss = sum((t.double() * torch.linspace(0.5, 1.5, t.numel(), dtype=f64).reshape(t.shape)).sum() for t in roots)
            wanted = {k: v for k, v in leaves.items() if v.requires_grad}
            try:
                grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
            except RuntimeError as e:
                print(name, "has no gradient:", str(e).split("\n")[0])
                continue
            case["grads"] = {k: store(gr) for k, gr in zip(wanted, grads) if gr is not None}
            differentiable += 1

here = os.path.dirname(os.path.abspath(__file__))
doc = {"versions": {"torch": torch.__version__, "python": platform.python_version()},
       "inputs": {k: store(v) for k, v in inputs.items()}, "cases": cases}
with open(os.path.join(here, "ops.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(doc).encode(), 9, mtime=0))
print(len(cases), "cases,", differentiable, "with gradients")
