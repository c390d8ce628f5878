#!/usr/bin/env python3
"""Compares metrics with sacreBLEU, rouge-score, scikit-learn, lm-evaluation-harness and NLTK on random cases.

    compare_metrics.py TOOL [CASES [SEED]]     CASES: 1000

TOOL is build/release/tests/compute_metrics. Needs sacrebleu 2.6, rouge-score 0.1.2 (which brings NLTK), scikit-learn and
lm_eval 0.4.13 (whose own dependencies are not needed). A case is a metric with random options and samples. Fails if a number differs by more
than 1e-9, or if a word of this repository's pages has another stem than NLTK's.
"""
import functools
import importlib.util
import json
import logging
import math
import random
import re
import string
import subprocess
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import lm_eval
import sacrebleu
import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # which has advice for each sentence

ROOT = Path(__file__).resolve().parents[2]


def normalize_answer_of_qasper():
    """SQuAD's normalisation; the harness' package of tasks needs more than this file does."""
    path = Path(lm_eval.__file__).parent / "tasks/qasper/metrics.py"
    spec = importlib.util.spec_from_file_location("qasper_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.normalize_answer


normalize_answer = normalize_answer_of_qasper()

# What texts are made of: words of several languages and scripts, signs, numbers, and what tokenizers treat in their own way.
WORDS = """the a an cat cats sat on mat quickly running runs happily happiness relational generalization studies
studied dying skies news agreed owned disabled controlling matting The Cat AN it's don't U.S. e.g. Dr. state-of-the-art
1,000.5 3.14 42 -7 $3.50 1990s 50% 10:30 2026-11-30 1/2 A4 x86-64 #### [42] (b) {c} <d> "quoted" 'single' & &amp; &quot; &lt; &gt;
&amp;lt; <skipped> co-operate co- ... !? ,. ., - -- — – … « » „ “ ” ‘ ’ © € £ ¥ § ± × ÷ ½ ² ٣ ४ Ⅷ º ª
Straße ÜBER Ärger naïve café cafe\u0301 İstanbul ISPARTA ΣΑΣ σοφός Москва привет 東京 日本語 你好,世界 한국어 नमस्ते สวัสดี \U0001F600 \U0001F469\u200d\U0001F467
K Å ǅ ﬁn ß ẞ Ώ a_b _ __init__ f(x)=2x+1 http://a.b/c?d=e user@example.org C++ .NET""".split()
SEPARATORS = [" "] * 40 + ["  ", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\u2028", "-\n", "", "\r\n", ", ", ". ", "\x0b", "\x1c", "\u200b"]


def sentence(rng, longest=25):
    kind = rng.random()
    if kind < 0.04:
        return rng.choice(["", " ", "\n", ".", "?!", "\u00a0"])
    words = rng.sample(WORDS, rng.randint(1, 8)) if kind < 0.3 else WORDS  # few words: repeated n-grams
    return "".join(rng.choice(words) + rng.choice(SEPARATORS) for _ in range(rng.randint(1, longest)))


def changed(rng, text):
    """A text that is like another."""
    parts = re.split(r"(\s)", text)
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(parts))
        what = rng.random()
        if what < 0.3:
            parts[at] = rng.choice(WORDS)
        elif what < 0.5:
            parts[at] = parts[at].swapcase()
        elif what < 0.7:
            parts[at:at] = [rng.choice(WORDS), " "]
        elif what < 0.85:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif len(parts) > 1:
            del parts[at]
    return "".join(parts)


def text_samples(rng):
    samples = []
    for _ in range(rng.randint(1, 6)):
        reference = sentence(rng)
        references = [reference] + [changed(rng, reference) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        text = sentence(rng) if rng.random() < 0.15 else changed(rng, rng.choice(references))
        samples.append({"text": text, "references": references})
    return samples


# Numbers as answers to problems give them.
NUMBERS = ["42", "1,234", "-7", "3.50", "3.5", "$18", "$1,000.00", "0", "007", "12.", "...", "1e3", "- 5", "--8", "50%", "4/5", "#### 42"]


def number_samples(rng):
    samples = []
    for _ in range(rng.randint(1, 6)):
        number = rng.choice(NUMBERS)
        answer = number if rng.random() < 0.6 else rng.choice(NUMBERS)
        text = rng.choice(["So {} it is.", "#### {}", "We get 5 + 3 = 8.\n#### {}", "{}", "The answer is {}", "#### {} and #### 9", "####{}", "", "none"])
        samples.append({"text": text.format(answer), "references": [f"{sentence(rng, 8)}\n#### {number}"]})
    return samples


def class_samples(rng):
    classes = rng.randint(1, 6)
    chosen = rng.sample(range(8), classes)
    return [{"predicted": rng.choice(chosen + [-1] * (rng.random() < 0.2)), "label": rng.choice(chosen)} for _ in range(rng.randint(1, 40))]


def loss_samples(rng):
    samples = []
    for _ in range(rng.randint(1, 30)):
        tokens = rng.randint(1, 2000)
        samples.append({"loss": tokens * rng.uniform(0, 12), "tokens": tokens, "right_tokens": rng.randint(0, tokens)})
    return samples


# The options of a random case.
def bleu_options(rng):
    options = {"tokenize": rng.choice(["13a", "13a", "intl", "char", "none"]), "smooth_method": rng.choice(["exp", "floor", "add-k", "none"]),
               "lowercase": rng.random() < 0.3, "max_ngram_order": rng.choice([4, 4, 4, 1, 2, 6]), "effective_order": rng.random() < 0.5,
               "level": rng.choice(["corpus", "corpus", "sentence"])}
    if options["smooth_method"] in ("floor", "add-k") and rng.random() < 0.5:
        options["smooth_value"] = rng.choice([0.0, 0.01, 0.5, 2.0])
    return options


def chrf_options(rng):
    return {"char_order": rng.choice([6, 6, 1, 3]), "word_order": rng.choice([0, 0, 2, 1]), "beta": float(rng.choice([2, 2, 1, 3])),
            "lowercase": rng.random() < 0.3, "whitespace": rng.random() < 0.2, "eps_smoothing": rng.random() < 0.2}


def rouge_options(rng):
    return {"use_stemmer": rng.random() < 0.5}


def match_options(rng):
    return {"ignore_pattern": rng.choice(["", "", r"\d+", r"(?s).*#### ", r"\.$", "[,$]", r"\b\w\b", "x*"]), "ignore_case": rng.random() < 0.5,
            "ignore_punctuation": rng.random() < 0.5, "ignore_numbers": rng.random() < 0.3, "normalise": rng.choice(["none", "squad"]),
            "trim": rng.random() < 0.5}


def number_options(rng):
    return {"extraction": rng.choice(["flexible", "strict"]), "compare": rng.choice(["text", "text", "value"])}


def class_options(rng):
    return {"average": rng.choice(["macro", "micro", "weighted", "per_class", "binary"]), "positive_class": rng.randint(0, 7)}


def f_options(rng):
    return {**class_options(rng), "beta": rng.choice([1.0, 0.5, 2.0, 0.1])}


# What the libraries say.
def transposed(samples):
    most = max(len(each["references"]) for each in samples)
    return [[each["references"][i] if i < len(each["references"]) else None for each in samples] for i in range(most)]


def mean(numbers):
    numbers = list(numbers)
    return float(sum(map(Fraction, numbers)) / len(numbers))


def bleu(samples, level="corpus", **options):
    bleu = sacrebleu.BLEU(force=True, **options)
    if level == "sentence":
        return {"bleu": mean(bleu.sentence_score(each["text"], each["references"]).score for each in samples)}
    score = bleu.corpus_score([each["text"] for each in samples], transposed(samples))
    return {"bleu": score.score, "bleu_brevity_penalty": score.bp}


def chrf(samples, beta, **options):
    chrf = sacrebleu.CHRF(beta=int(beta), **options)
    return {"chrf": chrf.corpus_score([each["text"] for each in samples], transposed(samples)).score}


def rouge(samples, use_stemmer, name):
    scorer = RougeScorer([name], use_stemmer=use_stemmer)
    scores = [scorer.score_multi(each["references"], each["text"])[name] for each in samples]
    return {name: mean(each.fmeasure for each in scores), f"{name}_precision": mean(each.precision for each in scores),
            f"{name}_recall": mean(each.recall for each in scores)}


def exact_match(samples, ignore_pattern, normalise, trim, **options):
    def normal(text):
        text = normalize_answer(text) if normalise == "squad" else text
        return text.strip() if trim else text

    def same(text, reference):
        if normalise == "none" and not trim:
            return exact_match_hf_evaluate([text], [reference], [ignore_pattern], **options)["exact_match"]
        left = [without_ignored(each, ignore_pattern, **options) for each in (text, reference)]
        return normal(left[0]) == normal(left[1])
    return {"exact_match": mean(float(any(same(each["text"], reference) for reference in each["references"])) for each in samples)}


def without_ignored(text, ignore_pattern, ignore_case, ignore_punctuation, ignore_numbers):
    """What exact_match_hf_evaluate compares, where more is left out afterwards."""
    text = re.sub(ignore_pattern, "", text)
    text = text.lower() if ignore_case else text
    text = text.translate(str.maketrans("", "", string.punctuation)) if ignore_punctuation else text
    return text.translate(str.maketrans("", "", string.digits)) if ignore_numbers else text


def gsm8k():
    return yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text().replace("!function", ""))


def numeric_answer(samples, extraction, compare):
    """The filters and the comparison of lm-evaluation-harness' task gsm8k."""
    task = gsm8k()
    filters = {each["name"]: each["filter"][0] for each in task["filter_list"]}
    extract = RegexFilter(**{key: value for key, value in filters[{"strict": "strict-match", "flexible": "flexible-extract"}[extraction]].items()
                             if key != "function"})
    options = {key: value for key, value in task["metric_list"][0].items() if key.startswith(("ignore", "regexes"))}

    def same(text, reference):
        found = extract.apply([[text]], [{}])
        number = list(found)[0][0]
        if compare == "text":
            return exact_match_hf_evaluate([number], [reference], **options)["exact_match"]
        for ignored in options["regexes_to_ignore"]:
            number, reference = re.sub(ignored, "", number), re.sub(ignored, "", reference)
        try:
            return float(number) == float(reference)
        except ValueError:
            return False
    return {"numeric_answer": mean(float(same(each["text"], each["references"][0])) for each in samples)}


def classes(samples, which, average="macro", positive_class=1, beta=1.0):
    labels, predicted = [each["label"] for each in samples], [each["predicted"] for each in samples]
    names = sorted({*labels, *predicted} - {-1})
    name = ["precision", "recall", "f_beta"][which]

    def score(**options):
        return precision_recall_fscore_support(labels, predicted, beta=beta, zero_division=0, **options)[which]
    if average == "binary":
        return {name: float(score(labels=[positive_class], average=None)[0])}
    if average != "per_class":
        return {name: float(score(labels=names, average=average))}
    each = score(labels=names, average=None)
    return {name: float(score(labels=names, average="macro")), **{f"{name}_{number}": float(value) for number, value in zip(names, each)}}


def accuracy(samples):
    return {"accuracy": float(accuracy_score([each["label"] for each in samples], [each["predicted"] for each in samples]))}


def loss(samples):
    return float(sum(Fraction(each["loss"]) for each in samples) / sum(each["tokens"] for each in samples))


# A metric's samples, options and oracle.
METRICS = {
    "bleu": (text_samples, bleu_options, bleu),
    "chrf": (text_samples, chrf_options, chrf),
    **{name: (text_samples, rouge_options, functools.partial(rouge, name=name)) for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")},
    "exact_match": (text_samples, match_options, exact_match),
    "numeric_answer": (number_samples, number_options, numeric_answer),
    "accuracy": (class_samples, lambda rng: {}, accuracy),
    "precision": (class_samples, class_options, functools.partial(classes, which=0)),
    "recall": (class_samples, class_options, functools.partial(classes, which=1)),
    "f_beta": (class_samples, f_options, functools.partial(classes, which=2)),
    "loss": (loss_samples, lambda rng: {}, lambda samples: {"loss": loss(samples)}),
    "perplexity": (loss_samples, lambda rng: {}, lambda samples: {"perplexity": math.exp(loss(samples))}),
    "token_accuracy": (loss_samples, lambda rng: {}, lambda samples: {
        "token_accuracy": sum(each["right_tokens"] for each in samples) / sum(each["tokens"] for each in samples)}),
}


def case_of(metric, options, samples):
    return {"metric": metric, "options": options, "samples": samples, "expected": METRICS[metric][2](samples, **options)}


def random_case(rng, metric=None):
    metric = metric or rng.choices(list(METRICS), [4, 2, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1])[0]
    make_samples, make_options, _ = METRICS[metric]
    return case_of(metric, make_options(rng), make_samples(rng))


def words_of_pages():
    text = " ".join(path.read_text().lower() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    return sorted(set(re.findall("[a-z0-9]+", text)))


def endings():
    """Words that each rule of the stemmer may apply to."""
    ends = """sses ies ss s eed ed ing ated bling izing ying ational tional enci anci izer bli abli alli entli eli ousli ization ation
        ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able
        ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize e ll lle y ied""".split()
    return sorted({start + end for start in ["", "b", "ab", "tr", "hop", "fill", "oat", "syz", "crepus", "relat", "by"] for end in ends})


def differing(found, expected):
    if found.keys() != expected.keys():
        return True
    return any(not math.isclose(found[name], expected[name], rel_tol=1e-9, abs_tol=1e-9) for name in expected)


def main():
    tool, cases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    all_cases = [random_case(rng) for _ in range(cases)]
    stem, words = PorterStemmer().stem, words_of_pages() + endings()
    asked = json.dumps(all_cases + [{"words": words}])
    found = json.loads(subprocess.run([tool], input=asked, capture_output=True, text=True, check=True).stdout)
    stems = found.pop()
    wrong = [(each, result) for each, result in zip(all_cases, found, strict=True) if differing(result, each["expected"])]
    wrong_stems = [(word, ours, stem(word)) for word, ours in zip(words, stems, strict=True) if ours != stem(word)]
    counts = {metric: sum(each["metric"] == metric for each in all_cases) for metric in METRICS}
    worst = max((abs(result[name] - value) for each, result in zip(all_cases, found) for name, value in each["expected"].items()
                 if name in result), default=0)
    print(f"Unicode {unicodedata.unidata_version}, sacrebleu {sacrebleu.__version__}; {counts}")
    print(f"{cases} cases, {len(wrong)} differ; the largest difference is {worst:.3g}; {len(words)} words, {len(wrong_stems)} stems differ")
    for each, result in wrong[:3]:
        print(json.dumps(each, ensure_ascii=False), "FOUND", result)
    print(wrong_stems[:20] or "", end="\n" if wrong_stems else "")
    sys.exit(bool(wrong or wrong_stems))


if __name__ == "__main__":
    main()
