#!/usr/bin/env python3
"""Makes metrics.json with sacreBLEU 2.6.0, rouge-score 0.1.2, scikit-learn 1.9.1, lm_eval 0.4.13 and NLTK 3.10.4.

    python tests/golden/make_metrics_golden.py

Cases of our own that say what each metric does where it is easily wrong, some random ones of compare_metrics.py, and the stems
of words.
"""
import json
import random
from pathlib import Path

from nltk.stem.porter import PorterStemmer

from compare_metrics import METRICS, case_of, endings, random_case


def samples(*pairs):
    return [{"text": text, "references": references} for text, *references in pairs]


def classes(*pairs):
    return [{"predicted": predicted, "label": label} for predicted, label in pairs]


MIXED = samples(
    ("The cat sat on the mat.", "The cat is sitting on the mat.", "A cat sat on a mat."),
    ("", "Nothing was said."),
    ("Prices rose 1,000.5% (to $3.50) -- \"wow\"!", "Prices rose 1,000.5 % (to $3.50), \"wow\"."),
    ("the the the the the the the", "the cat is on the mat", "there is a cat on the mat"),
    ("Straße, naïve café; Москва 東京。", "STRASSE, naïve cafe\u0301; Москва 東京!"))
LINES = samples(("The police killed the gunman.\nHe ran\n\nand ran away.", "A gunman was killed by the police.\nHe was running away."),
                ("He was running away.\nThe studies relate happily", "The studied relations, happiness.\nHe runs away"),
                ("one two three four five", "five four three two one"), ("a b c a b c", "c b a c b a"), ("x", ""), ("", ""))
SHORT = samples(("yes", "yes"), ("no", "yes no"), ("maybe so", "maybe not"))
GAPS = samples(("The cat sat here on a mat today", "the cat is on the mat today now"), ("It rains again in the hills", "it rained again in those hills"))
ANSWERS = samples(("The Eiffel Tower!", "eiffel tower"), ("a dog", "the Dog."), (" 42\n", "42"), ("Hello", "hello", "Hello"), ("theory", "ory"),
                  ("the\u00a0a.an", ""))
NUMBERS = samples(("5 + 3 = 8\n#### 8", "#### 8"), ("It costs $1,234.50.", "#### 1234.5"), ("So -7.", "#### -7"), ("#### 9 or #### 10", "#### 10"),
                  ("none", "#### 1"), ("42...", "#### 42"))
LABELS = classes((0, 0), (1, 0), (1, 1), (2, 2), (2, 1), (0, 2), (-1, 1), (4, 4), (4, 4), (0, 5))

OWN = [
    *[("bleu", {"tokenize": name}, MIXED) for name in ("13a", "intl", "char", "none")],
    ("bleu", {"lowercase": True}, GAPS), ("bleu", {"max_ngram_order": 2}, MIXED), ("bleu", {}, SHORT), ("bleu", {}, samples(("", "word"))),
    *[("bleu", {"smooth_method": method}, GAPS) for method in ("exp", "floor", "add-k", "none")],
    ("bleu", {"smooth_method": "floor", "smooth_value": 0.01}, GAPS), ("bleu", {"smooth_method": "add-k", "smooth_value": 2.0}, GAPS),
    ("bleu", {"level": "sentence"}, MIXED), ("bleu", {"level": "sentence", "effective_order": True}, MIXED + SHORT),
    ("bleu", {"effective_order": True}, SHORT), ("bleu", {}, samples(("out-\nside <skipped>a &amp;lt; b", "outside a < b"))),
    ("bleu", {}, samples(("a b c d e", "a b c d", "a b c d e f"))),  # the nearest length: the shorter of two
    *[("chrf", {"word_order": words, "beta": 2.0}, MIXED) for words in (0, 2)],
    ("chrf", {"eps_smoothing": True, "beta": 1.0}, MIXED), ("chrf", {"whitespace": True, "lowercase": True, "beta": 3.0}, MIXED),
    ("chrf", {"beta": 2.0}, samples(("", ""))), ("chrf", {"word_order": 1, "beta": 2.0}, samples(("(a) 'b' .", "a b ."))),
    *[(name, {"use_stemmer": stem}, MIXED + LINES) for name in ("rouge1", "rouge2", "rougeL", "rougeLsum") for stem in (False, True)],
    *[("exact_match", {"ignore_pattern": "", "ignore_case": False, "ignore_punctuation": False, "ignore_numbers": False, "normalise": "none",
                       "trim": False, **options}, ANSWERS)
      for options in ({}, {"normalise": "squad"}, {"ignore_case": True, "ignore_punctuation": True}, {"trim": True},
                      {"ignore_pattern": r"(?i)\bthe\b|\d+", "ignore_numbers": True})],
    *[("numeric_answer", {"extraction": extraction, "compare": compare}, NUMBERS) for extraction in ("flexible", "strict")
      for compare in ("text", "value")],
    ("accuracy", {}, LABELS),
    *[(name, {"average": average}, LABELS) for name in ("precision", "recall", "f_beta") for average in ("macro", "micro", "weighted", "per_class", "binary")],
    ("f_beta", {"beta": 0.5, "average": "macro"}, LABELS), ("f_beta", {"average": "binary", "positive_class": 3}, LABELS),
    *[(name, {}, [{"loss": 0.1, "tokens": 3, "right_tokens": 3}, {"loss": 1e6, "tokens": 70000, "right_tokens": 1}, {"loss": 0.0, "tokens": 0, "right_tokens": 0}])
      for name in ("loss", "perplexity", "token_accuracy")],
]


def main():
    rng = random.Random(20)
    cases = [case_of(*each) for each in OWN] + [random_case(rng, metric) for metric in METRICS for _ in range(2)]
    words = sorted({*endings(), "skies", "dying", "news", "proceed", "innings", "generalizations", "oscillators", "happily", "controllable"})
    result = {"cases": cases, "stems": {word: PorterStemmer().stem(word) for word in words}}
    path = Path(__file__).parent / "metrics.json"
    path.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
