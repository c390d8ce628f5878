#!/usr/bin/env python3
"""Makes tokenizer_components.json with Hugging Face's `tokenizers` (made with 0.23.3) and `sentencepiece` (0.2.x).

    python tests/golden/make_tokenizer_components.py

Each entry of "tokenizers" has a small tokenizer.json, which was trained on a few lines, and for nasty strings the ids, the byte
where each token begins in the text (without special tokens), and the text that the ids decode to. Together the
entries have every model, normalizer, pre-tokenizer, post-processor and decoder that is supported. The entries of
"sentencepiece" have a tokenizer.model in base64 instead, and what libsentencepiece makes of the texts.
"""
import base64
import json
import tempfile
from pathlib import Path

import sentencepiece
from make_tokenizer_golden import CASES, TEXT
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = Path(__file__).parent
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
MORE = [
    "I'm sure they'LL do not; it 's ok . isn't it ?", "don\u2019t WE'VE 'twas", "a\u180eb \u200b c", "\u0130STANBUL \u01c5 \u03a3\u03a3",
    "1234567 \u0663\u0664 \u2167 \u00b2x", "e\u0301\u0300 \u1e69\u0323", "\u1100\u1161\u11a8 \uac01", "\u3392 \uff76\uff9e",
    "CamelCaseWord HTTPServer", "x = 3;\r\n\r\n\ty++;  // done", "\u4e2d\u6587 mixed\u4e2d\u6587text", "naive \u0938\u094d\u0924\u0947",
]
TEXTS = [text for text in CASES if len(text) <= 60] + MORE


def train(model, trainer, lines=tuple(TEXT.splitlines()), **parts):
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def bpe(size, unknown="<unk>", special=("<unk>", "<s>", "</s>"), parts=None, **settings):
    same = {key: settings[key] for key in ("continuing_subword_prefix", "end_of_word_suffix") if key in settings}
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False, **same)
    return train(models.BPE(unk_token=unknown, **settings), trainer, **(parts or {}))


def byte_level(size, pattern=None, prefix=False, **parts):
    cut = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    if pattern:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), cut])
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|end|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return train(models.BPE(), trainer, pre_tokenizer=cut, decoder=decoders.ByteLevel(), **parts)


# A few rules, so that the table stays small: half-width to full-width, a ligature, a character that goes.
RULES = "FB01\t66 69\nFF21\t41\nFF22\t42\nFF76 FF9E\t30AC\n65 301\tE9\nA0\t20\n200B\t\n"


def sentencepiece_bytes(**settings):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").write_text(TEXT * 3)
        (folder / "rules.tsv").write_text(RULES)
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"), model_prefix=str(folder / "m"), minloglevel=2, hard_vocab_limit=False,
            normalization_rule_tsv=str(folder / "rules.tsv"), **settings)
        return (folder / "m.model").read_bytes()


def sentencepieces():
    models_of = {
        "unigram": sentencepiece_bytes(model_type="unigram", vocab_size=120),
        "bpe": sentencepiece_bytes(model_type="bpe", vocab_size=400, byte_fallback=True, split_digits=True,
                                   remove_extra_whitespaces=False, user_defined_symbols=["[WORD]", "ships"])}
    result = {}
    for name, model in models_of.items():
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        texts = [text for text in TEXTS if "<s>" not in text and "</s>" not in text]
        results = []
        for text in texts:
            pieces = processor.encode(text, return_type="proto").pieces
            ids = [piece.id for piece in pieces]
            starts = [piece.begin for piece in pieces]
            known = [index for index in ids if not processor.is_unknown(index)]
            results.append([text, ids, starts, processor.decode(known)])
        result[name] = {"model": base64.b64encode(model).decode(), "results": results}
    return result


def unigrams():
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(sentencepiece_bytes(model_type="unigram", vocab_size=120))
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    charsmap = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    plain = Tokenizer(models.Unigram(pieces, 0))
    plain.normalizer = normalizers.Sequence([charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
    plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    plain.decoder = decoders.Metaspace(prepend_scheme="always")
    bytes_too = Tokenizer(models.Unigram(pieces + [(f"<0x{byte:02X}>", -20.0) for byte in range(256)], 0, True))
    bytes_too.normalizer = normalizers.Nmt()
    bytes_too.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bytes_too.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return {"unigram_charsmap": plain, "unigram_bytes": bytes_too}


def berts():
    trainer = trainers.WordPieceTrainer(vocab_size=200, show_progress=False,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    bert = train(models.WordPiece(unk_token="[UNK]"), trainer, normalizer=normalizers.BertNormalizer(),
                 pre_tokenizer=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece(),
                 post_processor=processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)))
    cased = json.loads(bert.to_str())
    cased["normalizer"].update(lowercase=False, handle_chinese_chars=False, strip_accents=True, clean_text=False)
    cased["decoder"]["cleanup"] = False
    cased["model"]["max_input_chars_per_word"] = 5
    return {"bert": bert, "bert_cased": Tokenizer.from_str(json.dumps(cased))}


def splits():
    result = {}
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        expression = pre_tokenizers.Split(Regex(r"\d{1,3}(?=(?:\d{3})*\b)|\s|(?=[A-Z])"), behavior)
        inverted = pre_tokenizers.Split(Regex(r"\w+"), behavior, invert=True)
        result["split_" + behavior] = bpe(110, parts={"pre_tokenizer": pre_tokenizers.Sequence([
            expression, pre_tokenizers.Split("e", behavior), inverted, pre_tokenizers.Punctuation(behavior)])})
    return result


def others():
    norm, cut = normalizers, pre_tokenizers
    around = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|end|> $A <|end|>", special_tokens=[("<|end|>", 0)])])
    added = byte_level(300, GPT4)
    added.add_tokens([AddedToken("[MASK]", lstrip=True, special=True), AddedToken("[WORD]", single_word=True)])
    words = train(models.WordLevel(unk_token="<unk>"),
                  trainers.WordLevelTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False),
                  pre_tokenizer=cut.Whitespace())
    return {
        "gpt2": byte_level(320),
        "gpt4": added,
        "prefix_space": byte_level(280, prefix=True, post_processor=around),
        "bytes_then_digits": byte_level(280, normalizer=norm.NFC(), post_processor=None),
        "clip": bpe(200, parts={
            "normalizer": norm.Sequence([norm.NFC(), norm.Replace(Regex(r"\s+"), " "), norm.Lowercase()]),
            "pre_tokenizer": cut.Sequence([cut.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
                                                     "removed", invert=True),
                                           cut.ByteLevel(add_prefix_space=False, use_regex=False)]),
            "decoder": decoders.ByteLevel(),
            "post_processor": processors.RobertaProcessing(("</s>", 2), ("<s>", 1), trim_offsets=False,
                                                           add_prefix_space=False)}, end_of_word_suffix="</w>"),
        "suffix": bpe(120, parts={"pre_tokenizer": cut.WhitespaceSplit(), "decoder": decoders.BPEDecoder(suffix="</w>")},
                      end_of_word_suffix="</w>", fuse_unk=True),
        "prefix": bpe(120, parts={"pre_tokenizer": cut.Whitespace(), "decoder": decoders.WordPiece(prefix="@@")},
                      continuing_subword_prefix="@@"),
        "digits_single": bpe(120, parts={"normalizer": norm.NFKC(), "pre_tokenizer": cut.Sequence(
            [cut.Digits(True), cut.Metaspace(prepend_scheme="first")]), "decoder": decoders.Metaspace()}),
        "digits_runs": bpe(120, parts={"normalizer": norm.Strip(True, False), "pre_tokenizer": cut.Sequence(
            [cut.Metaspace(prepend_scheme="first"), cut.Digits(False)]),
            "decoder": decoders.Metaspace(prepend_scheme="first")}),
        "delimiter": bpe(120, parts={"normalizer": norm.Sequence([norm.NFD(), norm.StripAccents(), norm.Lowercase()]),
                                     "pre_tokenizer": cut.CharDelimiterSplit(" "), "decoder": decoders.Fuse()}),
        "byte_normalizer": bpe(300, None, special=("<s>",), parts={
            "normalizer": norm.Sequence([norm.NFKD(), norm.ByteLevel()]), "decoder": decoders.ByteLevel()}),
        "strip_then_metaspace": bpe(120, parts={"normalizer": norm.Strip(True, True),
                                                "pre_tokenizer": cut.Metaspace(prepend_scheme="first")}),
        "bytes_then_cut": bpe(300, None, special=("<s>",), parts={"pre_tokenizer": cut.Sequence(
            [cut.ByteLevel(add_prefix_space=True), cut.Punctuation(), cut.Digits()]), "decoder": decoders.ByteLevel()}),
        "word_level": words,
    }


def starts_of(tokenizer, text):
    """None where the library's own rule is not ours. With trimming it moves the starts of words behind their
    spaces; what replaces several characters begins at the last of them; the bytes of an unknown run begin where
    the run does."""
    described = json.loads(tokenizer.to_str())
    processor = described["post_processor"]
    if described["normalizer"] or described["model"].get("byte_fallback") or (processor and "trim" in json.dumps(processor)):
        return None
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    return [len(text[:begin].encode()) for begin, _ in offsets]


def main():
    golden = {"texts": TEXTS, "trained_on": TEXT.splitlines(), "tokenizers": {}, "sentencepiece": sentencepieces()}
    for name, tokenizer in {**others(), **berts(), **splits(), **unigrams()}.items():
        description = json.loads(tokenizer.to_str())
        results = []
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            starts = None if name == "bytes_then_cut" else starts_of(tokenizer, text)
            results.append([ids, starts, tokenizer.decode(ids)])
        golden["tokenizers"][name] = {"tokenizer": description, "results": results}
    (HERE / "tokenizer_components.json").write_text(
        json.dumps(golden, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
