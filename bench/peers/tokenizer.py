"""Times the reference tokenizer for bench/tokenizer.go: reads "CASE PASSES" a line, answers {"ns": ...} a line.

    python tokenizer.py TOKENIZER.json TEXTS...

"ids" answers with the number of ids of all texts and the sha256 of them as 64-bit numbers. Serial: the caller sets
TOKENIZERS_PARALLELISM=false.
"""
import array
import hashlib
import json
import sys
import time

import tokenizers

t = tokenizers.Tokenizer.from_file(sys.argv[1])
t.no_padding()
t.no_truncation()
rows = [row for path in sys.argv[2:] for row in open(path, "rb").read().removesuffix(b"\r\n").split(b"\r\n")]
texts = [row.split(b"\t")[2].decode("utf-8", "replace") for row in rows]


def encode():
    for text in texts:
        t.encode(text)


CASES = {"encode": encode, "encode_batch_fast": lambda: t.encode_batch_fast(texts)}

for line in sys.stdin:
    case, *passes = line.split()
    answer = {}
    if case == "ids":
        ids = array.array("q", (i for text in texts for i in t.encode(text).ids))
        answer = {"tokens": len(ids), "sha256": hashlib.sha256(ids.tobytes()).hexdigest()}
    elif case != "ready":
        start = time.perf_counter_ns()
        for _ in range(int(passes[0])):
            CASES[case]()
        answer = {"ns": time.perf_counter_ns() - start}
    print(json.dumps(answer), flush=True)
