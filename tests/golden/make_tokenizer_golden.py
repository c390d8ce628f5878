#!/usr/bin/env python3
"""Makes the tokenizer goldens with Hugging Face's `tokenizers` (made with 0.23.3; needs no network).

    python tests/golden/make_tokenizer_golden.py [--stories FOLDER]

writes tokenizer_tiny/tokenizer.json (a small SentencePiece-style BPE trained on the text below) and
tokenizer_golden.json: ids and decoded texts of nasty strings, for
  "variants": tokenizer_tiny/tokenizer.json with a JSON merge patch (RFC 7396) laid over it,
  "stories":  the tokenizer.json in FOLDER, where --stories is given (the recorded values stay otherwise),
  "byte":     byte_tokenizer/tokenizer.json, which `test_io "[.regenerate]"` wrote.
"""
import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
MARK = "\u2581"

TEXT = """The old lighthouse keeper counted the ships that passed in the night. There were seven of them, then
twelve, then none at all. He wrote the numbers in his book, and the weather beside them: wind from the north,
rain before morning, the sea as grey as slate. In the village they said that he had once been a sailor, and
that he had stopped sailing because of a song. Nobody remembered the song. The children, when they came up the
hill with bread and candles, asked him to sing it; and he would laugh, and give them apples, and tell them about
the whales instead. "There is nothing in a song," he said, "that the wind does not already know."
Déjà vu, naïve café, über, straße, señor. 0123456789 2024 1999 3.14159 a+b=c; x[i] = y(j); {k: v} <tag/> & more.
"""

CASES = [
    "", " ", "  ", "   ", "a", " a", "  a", "a ", "a  ", "  two  spaces  here  ",
    "The old lighthouse keeper", "the the the", "\n", "\n\n", " \n ", "line\nline\n", "tab\tand\ttab", "crlf\r\nline\r\n",
    "\u0000", "a\u0000b\u0000", "\u0001\u001f\u007f",
    "\U0001F600", "smile \U0001F600 family \U0001F468\u200D\U0001F469\u200D\U0001F467 flag \U0001F1EB\U0001F1F7",
    "caf\u00e9 cafe\u0301 e\u0301\u0327 a\u0300\u0301\u0302", "\ufb01ne \u2460 \uff21\uff22 \u00bd \u212b",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\u4f60\u597d, world", "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "<s>", "</s>", "<unk>", "a<s>b", "a <s> b", "<s> hi", "hi </s>", "<s></s>", "<s", "<s<s>>", "<0x41>", "a<0x0A>b",
    MARK, MARK + MARK, "a" + MARK + "b", " " + MARK + " ", MARK + "the", "the" + MARK,
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd \u200f!",
    "zero\u200bwidth\u200djoiner\u200c\ufeff", "\ufeffbom", "\u00a0nbsp\u00a0", "\u2028\u2029\u0085", "\u3000ideographic",
    "x" * 300, "the" * 200, "ab " * 100, " " * 77, "\n" * 33, "sailor" * 3 + " " + "lighthouse" * 30,
    "[MASK]", "the [MASK] ship", "the  [MASK]  ship", "[MASK][MASK]", "a[MASK]b \u00e9[MASK] [MASK]_ [MASK]",
    "[WORD]", "a [WORD] b", "a[WORD]b", "\u00e9[WORD]", "([WORD])", "_[WORD]", "\u0301[WORD]", "[WORD]1",
    "night ship", "nightship", "the night  ships", "\uff2e\uff29 NIGHT", "[LONG][LONGER]", "[LONGERX] [LONGE",
    "  leading <s>  inner </s> trailing  ", "1999 2024 3.14159", "x[i] = y(j); {k: v} <tag/> & more.",
    "\U0010ffff\U00010000\uffff\ufffd", "\u0130\u0131\u1e9e\u00df",
]

ADDED = [
    dict(content="[MASK]", lstrip=True, rstrip=False, single_word=False, normalized=False, special=True),
    dict(content="[WORD]", lstrip=False, rstrip=False, single_word=True, normalized=False, special=False),
    dict(content="night", lstrip=False, rstrip=True, single_word=False, normalized=True, special=False),
    dict(content="[LONG]", lstrip=False, rstrip=True, single_word=False, normalized=False, special=False),
    dict(content="[LONGER]", lstrip=False, rstrip=False, single_word=False, normalized=False, special=False),
    dict(content="[LONG][", lstrip=False, rstrip=False, single_word=False, normalized=False, special=False),
    dict(content="\u00e9t\u00e9", lstrip=True, rstrip=True, single_word=True, normalized=True, special=False),
]


def special(index, content):
    return dict(id=index, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)


def make_tiny():
    trainee = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trainee.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens,
                                  show_progress=False)
    trainee.train_from_iterator(TEXT.splitlines(), trainer)
    trained = json.loads(trainee.to_str())
    vocab, merges = trained["model"]["vocab"], trained["model"]["merges"]
    # As SentencePiece vocabularies have them: runs of the mark, and two ways to the same token.
    for run in (2, 4):
        vocab[MARK * run] = len(vocab)
        merges.append([MARK * (run // 2), MARK * (run // 2)])
    others = [[token[:cut], token[cut:]] for token in vocab if len(token) > 2 and not token.startswith("<")
              for cut in range(1, len(token)) if token[:cut] in vocab and token[cut:] in vocab]
    others = [merge for merge in others if merge not in merges]
    for place, merge in enumerate(others[::2]):
        merges.insert((place * 7) % len(merges), merge)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": MARK},
            {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [" ".join(merge) for merge in merges]},
    }


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split}


def variants(tiny):
    size = len(tiny["model"]["vocab"])
    added = tiny["added_tokens"] + [dict(entry, id=size + i) for i, entry in enumerate(ADDED)]
    drop_bytes = {f"<0x{byte:02X}>": None for byte in range(256)}  # null deletes, in a merge patch
    renumbered = [token for token in tiny["model"]["vocab"] if token not in drop_bytes]
    without_bytes = dict(drop_bytes, **{token: index for index, token in enumerate(renumbered)})
    forms = {form.lower(): {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": form}, {"type": "Prepend", "prepend": MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}} for form in ("NFC", "NFD", "NFKC", "NFKD")}
    return {
        "pairs_as_lists": {"model": {"merges": [merge.split(" ") for merge in tiny["model"]["merges"]]}},
        "added_tokens": {"added_tokens": added},
        "added_tokens_nfkc": {"added_tokens": added, "normalizer": {"type": "NFKC", "normalizers": None},
                              "pre_tokenizer": metaspace("first", False)},
        "metaspace_always": {"normalizer": None, "pre_tokenizer": metaspace("always", True), "added_tokens": added,
                             "decoder": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always",
                                         "split": True, "decoders": None}},
        "metaspace_first": {"normalizer": None, "pre_tokenizer": metaspace("first", False)},
        "metaspace_never": {"normalizer": None, "pre_tokenizer": metaspace("never", True),
                            "decoder": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "never",
                                        "split": True, "decoders": None}},
        "strip": {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Strip", "strip_left": True, "strip_right": True}]}, "post_processor": None, "decoder": None},
        "unknown_fused": {"model": {"vocab": without_bytes, "byte_fallback": False}},
        "unknown_single": {"model": {"vocab": without_bytes, "byte_fallback": False, "fuse_unk": False}},
        "no_unknown": {"model": {"vocab": without_bytes, "unk_token": None}},
        "ignore_merges": {"model": {"ignore_merges": True}, "pre_tokenizer": metaspace("always", True),
                          "normalizer": None},
        **forms,
    }


def merge_patch(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def load(described):
    # A missing normalizer (and so on) is the same as null, but this library wants to be told.
    nulls = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    return Tokenizer.from_str(json.dumps({"version": "1.0", **nulls, "added_tokens": [], **described}))


SHORT_CASES = [text for text in CASES if len(text) <= 60]  # what the variants are asked, to keep the file small


def record(tokenizer, texts):
    result = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        result.append([ids, len(ids) - len(bare), tokenizer.decode(ids)])
        assert ids[len(ids) - len(bare):] == bare, text
    return result


def record_decoding(tokenizer, lists):
    return [[ids, tokenizer.decode(ids)] for ids in lists]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stories", type=Path)
    stories = arguments.parse_args().stories

    tiny = make_tiny()
    (HERE / "tokenizer_tiny").mkdir(exist_ok=True)
    (HERE / "tokenizer_tiny/tokenizer.json").write_text(json.dumps(tiny, ensure_ascii=False, indent=0) + "\n")
    golden_file = HERE / "tokenizer_golden.json"
    old = json.loads(golden_file.read_text()) if golden_file.exists() else {}

    golden = {"texts": CASES, "short_texts": SHORT_CASES, "plain": record(load(tiny), CASES),
              "stories": old.get("stories"), "variants": {}}
    for name, patch in variants(tiny).items():
        tokenizer = load(merge_patch(tiny, patch))
        golden["variants"][name] = {"patch": patch, "results": record(tokenizer, SHORT_CASES)}
    golden["decoding"] = record_decoding(load(tiny), [
        [], [1], [1, 2], [3], [3 + 0xE2], [3 + 0xE2, 3 + 0x82, 3 + 0xAC], [3 + 0xE2, 3 + 0x82, 3 + 65],
        [3 + 0xC3, 1, 3 + 0xA9], [3 + 65, 2, 3 + 66], [tiny["model"]["vocab"][MARK + "the"]] * 3,
        [1, tiny["model"]["vocab"][MARK], tiny["model"]["vocab"][MARK], 3 + 10, tiny["model"]["vocab"][MARK]], [0, 99999]])
    if stories:
        golden["stories"] = record(Tokenizer.from_file(str(stories / "tokenizer.json")), CASES)
    byte = Tokenizer.from_file(str(HERE / "byte_tokenizer/tokenizer.json"))
    assert byte.get_vocab_size() == 258
    for text in CASES:
        assert byte.encode(text).ids == [256] + list(text.encode()), text
    golden["byte"] = {
        "results": record(byte, SHORT_CASES),
        "decoding": record_decoding(byte, [
            [], [256], [256, 257], [0xE2], [0xE2, 0x82, 0xAC], [0xE2, 0x82, 65], [0xC3, 257, 0xA9], [0xFF, 65, 0xFE],
            [0xF0, 0x9F, 0x98], [0xF0, 0x9F, 0x98, 0xF0, 0x9F, 0x98, 0x80], [0xED, 0xA0, 0x80], [0xC0, 0x80], [65, 999]])}
    golden_file.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
