"""Times this package and the reference on the lines of both text files, in turn.

Usage: python bench.py [ROUNDS]      (from this folder, with go on PATH, in a venv that has `tokenizers`)

Both run serially on one core's worth of work. Prints medians and the ratio of medians.
"""

import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402
from tokenizers.implementations import BertWordPieceTokenizer  # noqa: E402

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
lines = [l for n in ("reviews", "tweets") for l in gzip.open(n + ".txt.gz").read().decode("utf-8", "replace").split("\n")]

with tempfile.TemporaryDirectory() as folder:
    vocab = os.path.join(folder, "vocab.txt")
    with open(vocab, "wb") as out:
        out.write(gzip.open("vocab.txt.gz").read())
    t = BertWordPieceTokenizer(vocab)
    binary = os.path.join(folder, "tokenizer.test")
    subprocess.run(["go", "test", "-c", "-o", binary, "."], cwd="..", check=True)

    def one_by_one():
        for l in lines:
            t.encode(l)

    def batch():
        t._tokenizer.encode_batch(lines)

    def batch_fast():
        t._tokenizer.encode_batch_fast(lines)

    def ours(name):
        out = subprocess.run([binary, "-test.run=^$", f"-test.bench=^{name}$", "-test.benchtime=5x", "-test.cpu=1"], cwd="..", check=True, capture_output=True, text=True).stdout
        return next(float(l.split()[2]) / 1e9 for l in out.splitlines() if l.startswith(name))

    seconds = {}
    for _ in range(rounds):
        for f in (one_by_one, batch, batch_fast):
            start = time.perf_counter()
            f()
            seconds.setdefault("reference " + f.__name__, []).append(time.perf_counter() - start)
        for name in ("BenchmarkAppendIDs", "BenchmarkEncode"):
            seconds.setdefault(name, []).append(ours(name))

median = {k: statistics.median(v) for k, v in seconds.items()}
print(f"tokenizers {tokenizers.__version__}, {len(lines)} lines, {rounds} rounds, medians")
for k, v in median.items():
    print(f"{k:24} {v * 1000:8.1f} ms  (lowest {min(seconds[k]) * 1000:.1f}, highest {max(seconds[k]) * 1000:.1f})")
best = min(v for k, v in median.items() if k.startswith("reference"))
for k in ("BenchmarkAppendIDs", "BenchmarkEncode"):
    print(f"{k}: {median['reference one_by_one'] / median[k]:.1f} times the reference one by one, {best / median[k]:.1f} times its fastest serial way")
