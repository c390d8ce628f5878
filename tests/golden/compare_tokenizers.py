#!/usr/bin/env python3
"""Compares published tokenizers with Hugging Face's `tokenizers`, `sentencepiece` and `tiktoken`.

    compare_tokenizers.py ENGINE FOLDER [--strings 10000] [--speed FILE]

ENGINE is collie-engine. FOLDER has what scripts/check_tokenizers.sh downloaded: GGUF vocabularies, which transformers
turns into tokenizer.json, a tokenizer.json, and tiktoken files. For each, random strings of words, white space,
special tokens and Unicode must give the same ids, and the ids the same text. Only code points are drawn that both
sides' Unicode tables know alike. --speed encodes a file in turns, on one thread, and prints medians.
Exit code 1 if anything differs.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
from tokenizers import Tokenizer, normalizers  # noqa: E402

WORDS = """the old lighthouse keeper's ships don't WE'LL naïve über straße x[i] = y(j); 3.14159 1999 #include
def f(x): return x  http://example.org/?q=1&r=2 {"key": [1, 2]} <tag/> I'm you've they'd""".split(" ")


def known_alike():
    """Code points that Python's tables and the library's have in the same class and normal forms."""
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip, nfkc = normalizers.StripAccents(), normalizers.NFKC()
    result = []
    for code in range(1, 0x110000):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character, category = chr(code), unicodedata.category(chr(code))
        if category == "Cn" or category[0] == "C" and category != "Cc" and category != "Cf":
            continue
        if category[0] != "C" and not clean.normalize_str(character):
            continue  # unassigned for the library
        if (category[0] == "M") != (strip.normalize_str(character) == ""):
            continue
        if nfkc.normalize_str(character) == unicodedata.normalize("NFKC", character):
            result.append(code)
    return result


class Strings:
    def __init__(self, seed, added):
        self.random = random.Random(seed)
        every = known_alike() if not hasattr(Strings, "every") else Strings.every
        Strings.every = every
        known = set(every)
        ranges = [(32, 127), (0xC0, 0x250), (0x300, 0x370), (0x4E00, 0x9FFF), (0x1F300, 0x1F650), (0x600, 0x700),
                  (0xAC00, 0xD7A4), (0x3040, 0x3100), (0x900, 0x980), (0x1100, 0x1200)]
        self.pools = [[code for code in range(*limits) if code in known] for limits in ranges] + [every]
        self.pools.append([9, 10, 13, 32, 32, 32, 0xA0, 0x3000, 0x2028, 0x85])
        self.pools.append([ord(each) for each in "'sdtrevml.,!?0123456789-_/\\<>|[]{}()"])
        self.added = added

    def one(self):
        draw, parts = self.random, []
        for _ in range(draw.randint(1, 12)):
            kind = draw.random()
            if kind < 0.25:
                parts.append(draw.choice(WORDS))
            elif kind < 0.35:
                parts.append(" " * draw.randint(1, 9))
            elif kind < 0.4 and self.added:
                parts.append(draw.choice(self.added))
            else:
                pool = draw.choice(self.pools)
                parts.append("".join(chr(draw.choice(pool)) for _ in range(draw.randint(1, 6))))
            parts.append(" " * (draw.random() < 0.3))
        return "".join(parts)


def engine_lines(engine, command, folder, lines, *options):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    run = subprocess.run([engine, "tokenizer", command, "--model", str(folder), "--json-lines", *options],
                         input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode().split("\n")[:-1]]


def compare(name, engine, folder, encode, decode, added, count):
    strings = Strings(name, added)
    texts = [strings.one() for _ in range(count)]
    expected = [encode(text) for text in texts]
    ours = engine_lines(engine, "encode", folder, texts, "--special")
    texts_of = engine_lines(engine, "decode", folder, expected)
    wrong = [(text, want, got) for text, want, got in zip(texts, expected, ours) if want != got]
    unlike = [(want, got) for ids, got in zip(expected, texts_of) for want in [decode(ids)] if want != got]
    print(f"{name}: {count} strings, {len(wrong)} encoded otherwise, {len(unlike)} decoded otherwise", flush=True)
    for text, want, got in wrong[:3]:
        print("  ", ascii(text), want, got)
    for want, got in unlike[:3]:
        print("  ", ascii(want), ascii(got))
    return not wrong and not unlike


def convert_gguf(file, out):
    from transformers import AutoTokenizer
    if not (out / "tokenizer.json").exists():
        try:
            AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(out)
        except Exception as error:  # architectures that transformers cannot read from GGUF
            print(f"{file.stem}: left out, transformers cannot read it: {str(error)[:80]}", flush=True)
            return False
    return True


def vectors_agree(file, tokenizer):
    """llama.cpp's own vectors: how many of them the converted tokenizer gives."""
    inputs, outputs = Path(f"{file}.inp"), Path(f"{file}.out")
    if not inputs.exists():
        return ""
    texts = inputs.read_text().split("\n__ggml_vocab_test__\n")
    wanted = [[int(number) for number in line.split()] for line in outputs.read_text().splitlines()]
    same = sum(tokenizer.encode(text, add_special_tokens=False).ids == ids for text, ids in zip(texts, wanted))
    return f" (llama.cpp's vectors: {same} of {len(wanted)})"


def json_tokenizers(folder):
    for file in sorted(folder.glob("gguf/*.gguf")):
        out = folder / "converted" / file.stem
        if convert_gguf(file, out):
            yield file.stem + vectors_agree(file, Tokenizer.from_file(str(out / "tokenizer.json"))), out
    for file in sorted(folder.glob("json/*/tokenizer.json")):
        yield file.parent.name, file.parent


def check_json(engine, name, folder, count):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    added = [entry["content"] for entry in json.loads((folder / "tokenizer.json").read_text()).get("added_tokens") or []]
    return compare(name, engine, folder, lambda text: tokenizer.encode(text).ids, tokenizer.decode, added, count)


def check_tiktoken(engine, folder, count):
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
    encoding = tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(folder / "tokenizer.model")),
                                 special_tokens={})
    return compare(f"tiktoken {folder.name}", engine, folder, encoding.encode_ordinary, encoding.decode, [], count)


def speed(engine, folder, file):
    """Megabytes a second of one encoding of the file, in turns."""
    tokenizer, text = Tokenizer.from_file(str(folder / "tokenizer.json")), Path(file).read_text()
    chunks = [text[start:start + 4000] for start in range(0, len(text), 4000)]
    rates = {"engine": [], "tokenizers, whole": [], "tokenizers, batches of 4,000 characters": []}
    size = len(text.encode()) / 1e6
    for _ in range(3):
        checked = json.loads(subprocess.run([engine, "tokenizer", "check", "--model", str(folder), "--file", file],
                                            stdout=subprocess.PIPE).stdout)
        rates["engine"].append(checked["text"]["megabytes_per_second"])
        start = time.perf_counter()
        tokenizer.encode(text, add_special_tokens=False)
        rates["tokenizers, whole"].append(size / (time.perf_counter() - start))
        start = time.perf_counter()
        tokenizer.encode_batch_fast(chunks, add_special_tokens=False)
        rates["tokenizers, batches of 4,000 characters"].append(size / (time.perf_counter() - start))
    print(f"{folder.name}: " + ", ".join(f"{name} {statistics.median(rate):.2f} MB/s" for name, rate in rates.items()))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("engine")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--strings", type=int, default=10000)
    arguments.add_argument("--speed")
    options = arguments.parse_args()
    found = list(json_tokenizers(options.folder))
    good = [check_json(options.engine, name, folder, options.strings) for name, folder in found]
    good += [check_tiktoken(options.engine, file.parent, options.strings)
             for file in sorted(options.folder.glob("tiktoken/*/tokenizer.model"))]
    if options.speed:
        for name, folder in found[:3]:
            speed(options.engine, folder, options.speed)
    sys.exit(0 if all(good) and good else 1)


if __name__ == "__main__":
    main()
