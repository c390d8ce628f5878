"""Writes mixture.json: which documents the windows of an epoch have where sources have weights.

Usage: python3 make_mixture_golden.py > mixture.json

A model of docs/data.md that knows nothing of the engine but its random numbers (philox.py). It lays out every
epoch from the first one on, walks a pointer over each source's passes, and counts with fractions.
"""

import json
import random
from fractions import Fraction

from philox import philox4x32, random_key


def permutation(size, key):
    order = list(range(size))
    for i in range(size, 1, -1):
        words = [int(word) for word in philox4x32([i, 0, 0, 0], key)]
        j = ((words[0] << 32 | words[1]) * i) >> 64
        order[i - 1], order[j] = order[j], order[i - 1]
    return order


def permuted(items, seed, purpose):
    return [items[i] for i in permutation(len(items), random_key(seed, purpose))]


class Source:
    """An endless stream of documents, pass after pass; takes what an epoch has."""

    def __init__(self, number, documents, settings):
        self.number, self.documents, self.settings = number, documents, settings
        self.taken, self.owed = 0, Fraction(0)

    def order_of(self, number):
        if not self.settings["shuffle"]:
            return self.documents
        return permuted(self.documents, self.settings["seed"], f"pass/{self.number}/{number}")

    def epoch(self, weight):
        self.owed += weight * len(self.documents)
        wanted = int(self.owed)
        self.owed -= wanted
        result = []
        while wanted:
            number, begin = divmod(self.taken, len(self.documents))
            count = min(wanted, len(self.documents) - begin)
            whole = count == len(self.documents)
            result += self.documents if whole else self.order_of(number)[begin : begin + count]
            self.taken += count
            wanted -= count
        return result


def windows_of_stream(documents, pairs, length):
    stream = [(d, i) for d in documents for i in range(pairs[d])]
    return [stream[i : i + length] for i in range(0, len(stream), length)]


def pieces(document, pairs, length):
    return [[(document, i) for i in range(first, min(first + length, pairs))] for first in range(0, pairs, length)]


def windows_of_samples(documents, pairs, length):
    opened, closed = [], []
    for d in documents:
        for piece in pieces(d, pairs[d], length):
            fitting = [w for w in opened if len(w) + len(piece) <= length]
            if fitting:
                window = fitting[0]
            else:
                if len(opened) == 64:
                    closed.append(opened.pop(0))
                window = []
                opened.append(window)
            window += piece
            if len(window) == length:
                opened = [w for w in opened if w is not window]
                closed.append(window)
    return closed + opened


def run(case):
    pairs = [max(tokens - 1, 0) for source in case["sources"] for tokens in source]
    sources, first = [], 0
    for number, tokens in enumerate(case["sources"]):
        sources.append(Source(number, list(range(first, first + len(tokens))), case))
        first += len(tokens)
    epochs = []
    for epoch in range(case["epochs"]):
        phase = max((p for p in case["phases"] if p["from"] <= epoch), key=lambda p: p["from"])
        if phase["from"] == epoch:
            for source in sources:
                source.owed = Fraction(0)
        weights = [Fraction(text) for text in phase["weights"]]
        # Whether every epoch of the phase has the same documents: passes that are whole.
        if phase["from"] == epoch:
            even = all(w.denominator == 1 for w in weights) and all(s.taken % len(s.documents) == 0 for s in sources)
        documents = [d for source, weight in zip(sources, weights) for d in source.epoch(weight)]
        seed, length = case["seed"], case["length"]
        if case["packing"] == "true":
            if case["shuffle"]:
                documents = permuted(documents, seed, f"documents/{epoch}")
            windows = windows_of_stream(documents, pairs, length)
        elif case["packing"] == "samples":
            if case["shuffle"]:
                documents = permuted(documents, seed, "samples" if even else f"samples/{epoch}")
            windows = windows_of_samples(documents, pairs, length)
        else:
            windows = [piece for d in documents for piece in pieces(d, pairs[d], length)]
        if case["shuffle"]:
            windows = permuted(windows, seed, f"windows/{epoch}")
        # A window as one list: document, pair, document, pair, ...
        epochs.append([[number for pair in window for number in pair] for window in windows])
    return epochs


def main():
    draw = random.Random(5)
    cases = []
    mixtures = [
        [{"from": 0, "weights": ["1", "1"]}],
        [{"from": 0, "weights": ["0.5", "2"]}],
        [{"from": 0, "weights": ["3", "0"]}, {"from": 2, "weights": ["0.4", "1.3"]}],
        [{"from": 0, "weights": ["1", "0.3"]}, {"from": 1, "weights": ["1", "1"]}, {"from": 3, "weights": ["2", "0.7"]}],
    ]
    for phases in mixtures:
        for packing in ["true", "samples", "false"]:
            for shuffle in [True, False]:
                case = {
                    "sources": [[draw.randint(0, 7) for _ in range(size)] for size in (4, 3)],
                    "phases": phases, "packing": packing, "shuffle": shuffle, "seed": draw.randint(0, 1000),
                    "length": 4, "epochs": 4,
                }
                case["expected"] = run(case)
                cases.append(case)
    print("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")


main()
