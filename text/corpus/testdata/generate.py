"""Makes replace.jsonl, the golden of replaceInvalid: one [bytes in hex, their decoding] a line.

Run on Python 3.11.
"""
import itertools
import json
import pathlib
import random

# The first and last bytes of every row of Unicode's table 3-7, and their neighbours.
EDGES = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
         0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
random.seed(0)
cases = [bytes(c) for n in (1, 2) for c in itertools.product(EDGES, repeat=n)]
cases += [bytes([lead, *c]) for lead in (0xE0, 0xED, 0xEF, 0xF0, 0xF1, 0xF4) for c in itertools.product((0x41, 0x80, 0x90, 0xA0, 0xBF), repeat=2)]
cases += [bytes(random.choices(EDGES, k=random.randint(3, 12))) for _ in range(1000)]
cases += ["naïve café 漢字 😀".encode(e) for e in ("utf-8", "utf-16-le")] + ["naïve café".encode("latin-1")]
with open(pathlib.Path(__file__).parent / "replace.jsonl", "w") as f:
    for c in cases:
        f.write(json.dumps([c.hex(), c.decode("utf-8", errors="replace")]) + "\n")
