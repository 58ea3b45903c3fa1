"""Writes folders.json.gz: the ids that transformers gives with folders that say of a tokenizer in more than one file, for
tokenizer/folder_test.go.

    python folders.py

Run on Python 3.11 with transformers 5.17.0, tokenizers 0.23.3 (no torch is needed).
"""
import copy
import gzip
import json
import pathlib
import platform
import tempfile

import tokenizers
import transformers
from transformers import AutoTokenizer

transformers.logging.set_verbosity_error()
HERE = pathlib.Path(__file__).parent
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "The", "Cat", "thé", "the日", "!", "日", "[", "]",
         "usr", "covid", "##19", "<", ">", "new", "mask", "New", "USR", "<s>", "cls", "pad"]
TEXTS = ["The cat", "The Cats thé THE!", "the日 cat", "covid19 [USR] cat [usr]", "cat [MASK] [CLS]cat<NEW>", "<new> the <s> <New>",
         "the\tcat\x00s", "catcovid19cat the  [USR]  cat", ""]
PAIRS = [["The cat", "Cats!"], ["", "the"]]


def special(content, id, **more):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **more}


def whole(vocab=VOCAB, names=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")):
    """A tokenizer.json as BertTokenizer saves it."""
    ids = {t: i for i, t in enumerate(vocab)}
    seq = lambda s, t: {"Sequence": {"id": s, "type_id": t}}
    tok = lambda s, t: {"SpecialToken": {"id": s, "type_id": t}}
    cls, sep = names[2], names[3]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(t, ids[t]) for t in names if t in ids],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [tok(cls, 0), seq("A", 0), tok(sep, 0)],
                           "pair": [tok(cls, 0), seq("A", 0), tok(sep, 0), seq("B", 1), tok(sep, 1)],
                           "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (cls, sep)}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": names[1], "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": ids},
    }


def changed(base, **changes):
    """base with values at paths that are written a__b."""
    out = copy.deepcopy(base)
    for path, value in changes.items():
        *way, last = path.split("__")
        at = out
        for key in way:
            at = at[key]
        at[last] = value
    return out


W = whole()
LOWER, CASED = W, changed(W, normalizer__lowercase=False)
decoder = lambda *tokens: {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in tokens}
PLAIN = [special(t, i) for i, t in enumerate(VOCAB[:5])]
NEW = special("<new>", 28, special=False)
NEW_NORMALIZED = special("<New>", 28, special=False, normalized=True)
FAST, BERT = {"tokenizer_class": "PreTrainedTokenizerFast"}, {"tokenizer_class": "BertTokenizer"}
V, J, C, S, A = "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

CASES = {
    "vocab alone": {V: VOCAB},
    "vocab, cased": {V: VOCAB, C: {"do_lower_case": False}},
    "vocab, accents kept": {V: VOCAB, C: {"strip_accents": False}},
    "vocab, Chinese kept": {V: VOCAB, C: {"tokenize_chinese_chars": False}},
    "vocab, added tokens": {V: VOCAB, A: {"[USR]": 28, "covid19": 29}},
    "vocab, added tokens out of order": {V: VOCAB, A: {"covid19": 29, "[USR]": 28}},
    "vocab, added tokens with a gap": {V: VOCAB, A: {"[USR]": 40, "covid19": 35}},
    "vocab, added token that has a line": {V: VOCAB, A: {"covid": 17, "[USR]": 28}},
    "vocab, added token at another id than its line": {V: VOCAB, A: {"covid": 28}},
    "vocab, added token in place of a line": {V: VOCAB, A: {"[USR]": 5}},
    "vocab, added tokens, cased": {V: VOCAB, A: {"[USR]": 28, "<New>": 29}, C: {"do_lower_case": False}},
    "vocab, added and special": {V: VOCAB, A: {"[USR]": 28, "covid19": 29}, C: {"additional_special_tokens": ["[USR]"]}},
    "vocab, added, special in the map": {V: VOCAB, A: {"[USR]": 28, "covid19": 29}, S: {"additional_special_tokens": ["[USR]"]}},
    "vocab, added, extra in the map": {V: VOCAB, A: {"[USR]": 28, "covid19": 29}, S: {"extra_special_tokens": ["[USR]"]}},
    "vocab, extra tokens": {V: VOCAB, C: {"extra_special_tokens": ["[USR]", "<new>"]}},
    "vocab, extra tokens by name": {V: VOCAB, C: {"extra_special_tokens": {"user_token": "[USR]"}}},
    "vocab, token of an own name": {V: VOCAB, C: {"user_token": "[USR]"}},
    "vocab, additional tokens": {V: VOCAB, C: {"additional_special_tokens": ["[USR]", "<new>"]}},
    "vocab, additional tokens in the map": {V: VOCAB, S: {"additional_special_tokens": ["[USR]", "<new>"]}},
    "vocab, first and last tokens named": {V: VOCAB, C: {"bos_token": "<s>", "eos_token": "<new>"}},
    "vocab, names in the config": {V: VOCAB, C: {"cls_token": "<s>", "sep_token": "!"}},
    "vocab, names in the map": {V: VOCAB, S: {"cls_token": "<s>", "sep_token": "!"}},
    "vocab, names in both": {V: VOCAB, C: {"cls_token": "the", "sep_token": "cat"}, S: {"cls_token": "<s>"}},
    "vocab, names in both and a decoder": {V: VOCAB, C: {"cls_token": "the", "added_tokens_decoder": decoder(*PLAIN)}, S: {"cls_token": "<s>"}},
    "vocab, names as objects": {V: VOCAB, C: {"mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}}},
    "vocab, names as objects in the map": {V: VOCAB, S: {"mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}}},
    "vocab, names as bare objects": {V: VOCAB, C: {"mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}}},
    "vocab, another unknown token": {V: VOCAB, C: {"unk_token": "usr"}},
    "vocab, no mask": {V: [t if t != "[MASK]" else "[x]" for t in VOCAB]},
    "vocab, no padding": {V: [t if t != "[PAD]" else "[x]" for t in VOCAB]},
    "vocab, no class": {V: [t if t != "[CLS]" else "[x]" for t in VOCAB]},
    "vocab, no unknown": {V: [t if t != "[UNK]" else "[x]" for t in VOCAB]},
    "vocab, null names": {V: VOCAB, C: {"mask_token": None, "bos_token": None}},
    "vocab, a decoder": {V: VOCAB, C: {"added_tokens_decoder": decoder(*PLAIN, NEW)}},
    "vocab, a decoder and added tokens": {V: VOCAB, A: {"[USR]": 28}, C: {"added_tokens_decoder": decoder(*PLAIN, NEW)}},
    "vocab, a decoder without order": {V: VOCAB, C: {"added_tokens_decoder": decoder(special("[USR]", 30), NEW_NORMALIZED, *PLAIN)}},
    "vocab, special tokens split": {V: VOCAB, C: {"split_special_tokens": True}},
    "vocab, slow keys": {V: VOCAB, C: {"do_basic_tokenize": False, "never_split": ["Cats"], "tokenizer_class": "BertTokenizer"}},
    "vocab, first and last added": {V: VOCAB, C: {"add_bos_token": True, "add_eos_token": True}},
    "vocab, class of another model": {V: VOCAB, C: {"tokenizer_class": "ElectraTokenizer"}},
    "vocab, class DistilBERT": {V: VOCAB, C: {"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}},
    "vocab, class MPNet": {V: VOCAB, C: {"tokenizer_class": "MPNetTokenizer"}},
    "vocab, class fast": {V: VOCAB, C: FAST},
    "vocab, class that is none": {V: VOCAB, C: {"tokenizer_class": "MyTokenizer"}},
    "vocab, class Japanese": {V: VOCAB, C: {"tokenizer_class": "BertJapaneseTokenizer"}},
    "vocab, class RoBERTa": {V: VOCAB, C: {"tokenizer_class": "RobertaTokenizer"}},
    "vocab, class in config.json": {V: VOCAB, "config.json": {"model_type": "bert", "tokenizer_class": "RobertaTokenizer"}},
    "vocab, class in both": {V: VOCAB, C: BERT, "config.json": {"model_type": "bert", "tokenizer_class": "RobertaTokenizer"}},

    "json alone": {J: W},
    "json alone, cased": {J: CASED},
    "json, cased, config lower": {J: CASED, C: {"do_lower_case": True}},
    "json, lower, config cased": {J: LOWER, C: {"do_lower_case": False}},
    "json, cased, config silent": {J: CASED, C: BERT},
    "json, both cased": {J: CASED, C: {"do_lower_case": False}},
    "json, class fast, lower, config cased": {J: LOWER, C: FAST | {"do_lower_case": False}},
    "json, class fast, cased": {J: CASED, C: FAST},
    "json, class backend, cased": {J: CASED, C: {"tokenizer_class": "TokenizersBackend", "do_lower_case": True}},
    "json, class in config.json, cased": {J: CASED, "config.json": {"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"}},
    "json, class that is none, cased": {J: CASED, C: {"tokenizer_class": "MyTokenizer"}},
    "json, class Electra, cased": {J: CASED, C: {"tokenizer_class": "ElectraTokenizer", "do_lower_case": False}},
    "json, class DistilBERT, lower": {J: LOWER, C: {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}},
    "json, accents kept": {J: changed(W, normalizer__strip_accents=False)},
    "json, accents stripped, config keeps": {J: W, C: {"strip_accents": False}},
    "json, accents kept, config says so": {J: changed(W, normalizer__strip_accents=False), C: {"strip_accents": False}},
    "json, accents kept, config null": {J: changed(W, normalizer__strip_accents=False), C: {"strip_accents": None}},
    "json, accents spelled out": {J: changed(W, normalizer__strip_accents=True), C: {"do_lower_case": True}},
    "json, Chinese kept": {J: changed(W, normalizer__handle_chinese_chars=False), C: BERT},
    "json, Chinese, config keeps": {J: W, C: {"tokenize_chinese_chars": False}},
    "json, text not cleaned": {J: changed(W, normalizer__clean_text=False), C: BERT},
    "json, text not cleaned, class fast": {J: changed(W, normalizer__clean_text=False), C: FAST},
    "json, no template": {J: changed(W, post_processor=None), C: BERT},
    "json, no template, class fast": {J: changed(W, post_processor=None), C: FAST},
    "json, template without pair type": {J: changed(W, post_processor__pair=[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]), C: BERT},
    "json, BertProcessing": {J: changed(W, post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}), C: BERT},
    "json, short words": {J: changed(W, model__max_input_chars_per_word=3), C: BERT},
    "json, short words, class fast": {J: changed(W, model__max_input_chars_per_word=3), C: FAST},
    "json, another unknown": {J: changed(W, model__unk_token="usr"), C: BERT},
    "json, another unknown, config too": {J: changed(W, model__unk_token="usr"), C: {"unk_token": "usr"}},
    "json, config names another unknown": {J: W, C: {"unk_token": "usr"}},
    "json, config names another class": {J: W, C: {"cls_token": "<s>"}},
    "json, map names another class": {J: W, S: {"cls_token": "<s>"}},
    "json, decoder, map names another class": {J: W, C: {"added_tokens_decoder": decoder(*PLAIN)}, S: {"cls_token": "<s>"}},
    "json, fast, config names another class": {J: W, C: FAST | {"cls_token": "<s>"}},
    "json, other names everywhere": {J: whole(names=("pad", "usr", "cls", "!", "mask")), C: {"pad_token": "pad", "unk_token": "usr", "cls_token": "cls", "sep_token": "!", "mask_token": "mask"}},
    "json, other names, config silent": {J: whole(names=("pad", "usr", "cls", "!", "mask")), C: BERT},
    "json, added token": {J: changed(W, added_tokens=[*PLAIN, NEW])},
    "json, added token, config": {J: changed(W, added_tokens=[*PLAIN, NEW]), C: {"do_lower_case": True}},
    "json, added token, the decoder too": {J: changed(W, added_tokens=[*PLAIN, NEW]), C: {"added_tokens_decoder": decoder(*PLAIN, NEW)}},
    "json, added token, the decoder without": {J: changed(W, added_tokens=[*PLAIN, NEW]), C: {"added_tokens_decoder": decoder(*PLAIN)}},
    "json, added token, the decoder with another": {J: changed(W, added_tokens=[*PLAIN, NEW]), C: {"added_tokens_decoder": decoder(*PLAIN, special("[USR]", 28))}},
    "json, added token, the decoder normalizes": {J: changed(W, added_tokens=[*PLAIN, special("<New>", 28, special=False)]), C: {"added_tokens_decoder": decoder(*PLAIN, NEW_NORMALIZED)}},
    "json, no added tokens, the decoder has": {J: W, C: {"added_tokens_decoder": decoder(*PLAIN, NEW)}},
    "json, no added tokens at all": {J: changed(W, added_tokens=[]), C: BERT},
    "json, added_tokens.json": {J: W, A: {"[USR]": 28, "covid19": 29}},
    "json, added token in both": {J: changed(W, added_tokens=[*PLAIN, special("[USR]", 28)]), A: {"[USR]": 28, "covid19": 29}},
    "json, added_tokens.json with another id": {J: changed(W, added_tokens=[*PLAIN, special("[USR]", 28)]), A: {"covid19": 28, "[USR]": 29}},
    "json, extra tokens": {J: W, C: {"additional_special_tokens": ["[USR]"]}},
    "json, extra tokens in the map": {J: W, S: {"additional_special_tokens": ["[USR]"]}},
    "json, fast, extra tokens": {J: W, C: FAST | {"additional_special_tokens": ["[USR]"]}},
    "json, fast, added token, the decoder without": {J: changed(W, added_tokens=[*PLAIN, NEW]), C: FAST | {"added_tokens_decoder": decoder(*PLAIN)}},
    "json, fast, the decoder has more": {J: W, C: FAST | {"added_tokens_decoder": decoder(*PLAIN, NEW)}},
    "json, fast, the decoder normalizes": {J: changed(W, added_tokens=[*PLAIN, special("<New>", 28, special=False)]), C: FAST | {"added_tokens_decoder": decoder(*PLAIN, NEW_NORMALIZED)}},
    "json, fast, added_tokens.json": {J: W, C: FAST, A: {"[USR]": 28, "covid19": 29}},
    "json, fast, special tokens named": {J: changed(W, added_tokens=[]), C: FAST | {"cls_token": "[CLS]", "mask_token": "[MASK]", "bos_token": "<new>"}},
    "json, fast, none named": {J: changed(W, added_tokens=[]), C: FAST},
    "json, slow class": {J: CASED, C: {"tokenizer_class": "PreTrainedTokenizer"}},
    "json, other padding token": {J: changed(W, added_tokens=[], padding={"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 27, "pad_type_id": 0, "pad_token": "pad"}), C: FAST},
    "vocab, SqueezeBERT, layouts": {V: VOCAB, C: {"tokenizer_class": "SqueezeBertTokenizer", "do_lower_case": False}},
    "vocab, ConvBERT": {V: VOCAB, C: {"tokenizer_class": "ConvBertTokenizerFast", "do_lower_case": False}},
    "vocab, MobileBERT": {V: VOCAB, C: {"tokenizer_class": "MobileBertTokenizer", "do_lower_case": False}},
    "vocab, LayoutLM": {V: VOCAB, C: {"tokenizer_class": "LayoutLMTokenizer", "do_lower_case": False}},
    "vocab, LXMERT": {V: VOCAB, C: {"tokenizer_class": "LxmertTokenizer", "do_lower_case": False}},
    "vocab, a length": {V: VOCAB, C: {"model_max_length": 12}},
    "json and another vocab": {J: W, V: VOCAB[::-1]},
    "json, truncation and padding": {J: changed(W, truncation={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}, padding={"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}), C: BERT},
    "json, versioned": {J: W, "tokenizer.4.0.0.json": CASED, C: FAST | {"fast_tokenizer_files": ["tokenizer.4.0.0.json", "tokenizer.json"]}},
    "json, special tokens split": {J: W, C: {"split_special_tokens": True}},
    "json without a model type": {J: changed(W, model={k: v for k, v in W["model"].items() if k != "type"}), C: BERT},
}


def main():
    cases = []
    for name, files in CASES.items():
        files = {k: "".join(t + "\n" for t in v) if k == V else json.dumps(v, ensure_ascii=False) for k, v in files.items()}
        case = {"name": name, "files": files}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file, content in {"config.json": '{"model_type": "bert"}', **files}.items():
                (folder / file).write_text(content, encoding="utf-8")
            try:
                t = AutoTokenizer.from_pretrained(folder)
                plain = dict(padding=False, truncation=False)
                case |= {"class": type(t).__name__, "size": len(t), "ids": [t(x, **plain)["input_ids"] for x in TEXTS]}
                pairs = [t(a, b, return_token_type_ids=True, **plain) for a, b in PAIRS]
                case |= {"pairs": [p["input_ids"] for p in pairs], "types": [p["token_type_ids"] for p in pairs]}
            except Exception as e:
                case["error"] = f"{type(e).__name__}: {str(e).splitlines()[0]}".replace(str(folder), "FOLDER")
        cases.append(case)
        print(f"{name:50}", case.get("error") or (case["class"], case["size"], case["ids"][:6]))
    versions = {"python": platform.python_version(), "transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    content = json.dumps({"versions": versions, "texts": TEXTS, "pairs": PAIRS, "cases": cases}, ensure_ascii=False) + "\n"
    (HERE / "folders.json.gz").write_bytes(gzip.compress(content.encode(), 9, mtime=0))


main()
