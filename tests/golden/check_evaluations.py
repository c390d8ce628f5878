"""Compares `collie-engine eval` with loops over transformers: perplexity, classification by likelihood, greedy texts.

    python check_evaluations.py ENGINE MODEL TEXT

MODEL is a Hugging Face folder with a tokenizer.json, TEXT a text whose lines become the samples. float32 on the CPU, one
sample at a time, without BOS; documents are not cut. Fails if a loss, a perplexity or an option's log-likelihood differs
by more than 1e-4 of itself, a choice differs where two scores are not that close, or a greedy text differs anywhere.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

TOLERANCE, DOCUMENTS, QUESTIONS, PROMPTS, NEW_TOKENS = 1e-4, 40, 30, 10, 24
SCORES = {"sum": lambda sum_, tokens, text: sum_, "mean": lambda sum_, tokens, text: sum_ / tokens,
          "bytes": lambda sum_, tokens, text: sum_ / len(text.encode())}


def samples_of(text):
    lines = [line for line in text.splitlines() if len(line.split()) >= 6]
    documents = [" ".join(lines[3 * i:3 * i + 3]) for i in range(DOCUMENTS)]
    questions = []
    for i in range(QUESTIONS):
        halves = [line.split() for line in lines[200 + 3 * i:203 + 3 * i]]
        cut = [(" ".join(words[:len(words) // 2]), " ".join(words[len(words) // 2:])) for words in halves]
        options = [rest for _, rest in cut]
        questions.append({"prompt": cut[i % 3][0], "options": options, "label": i % 3})
    prompts = [{"prompt": line, "reference": "none"} for line in lines[400:400 + PROMPTS]]
    return documents, questions, prompts


def log_likelihoods(model, tokens, first):
    """The log-probabilities of tokens[first:], each after those before it."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].double()
    return torch.log_softmax(logits, -1)[range(first - 1, len(tokens) - 1), tokens[first:]]


def by_transformers(model, tokenizer, documents, questions, prompts):
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    losses = [-log_likelihoods(model, encode(document), 1) for document in documents]
    options = []
    for question in questions:
        context = question["prompt"].rstrip()
        first = len(encode(context))
        whole = [encode(question["prompt"] + " " + option) for option in question["options"]]
        options.append([(float(log_likelihoods(model, tokens, first).sum()), len(tokens) - first) for tokens in whole])
    texts = []
    for prompt in prompts:
        tokens = encode(prompt["prompt"])
        out = model.generate(torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens)), do_sample=False,
                             max_new_tokens=NEW_TOKENS, pad_token_id=0)
        decoded = [tokenizer.decode(each, skip_special_tokens=True) for each in (tokens, out[0].tolist())]
        texts.append(decoded[1][len(decoded[0]):])  # a text by itself would lose the space that it begins with
    return sum(loss.sum() for loss in losses) / sum(len(loss) for loss in losses), options, texts


def by_engine(engine, model, folder, documents, questions, prompts):
    def write(name, records):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    write("documents.jsonl", [{"text": document} for document in documents])
    write("questions.jsonl", questions)
    write("prompts.jsonl", prompts)
    common = 'add_bos: "false"'
    sets = [f"{{name: texts, path: {folder}/documents.jsonl, format: jsonl, text: text, {common}, add_eos: \"false\"}}"]
    for score in SCORES:
        sets.append(f"{{name: {score}, kind: classification, path: {folder}/questions.jsonl, prompt: prompt, "
                    f"options_column: options, label: label, score: {score}, predictions: true, {common}}}")
    sets.append(f"{{name: greedy, kind: generation, path: {folder}/prompts.jsonl, prompt: prompt, "
                f"reference: reference, max_new_tokens: {NEW_TOKENS}, predictions: true, {common}}}")
    (folder / "config.yaml").write_text("data: {eval: []}\n")
    settings = [f"model.path={model}", "data.sequence_length=256", "data.packing=samples",
                f"eval.sets=[{', '.join(sets)}]"]
    command = [engine, "eval", folder / "config.yaml", "--predictions", folder / "predictions.jsonl"]
    run = subprocess.run(command + [word for setting in settings for word in ("--set", setting)],
                         capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, run.args))}: {run.stderr}")
    predictions = {}
    for line in (folder / "predictions.jsonl").read_text().splitlines():
        each = json.loads(line)
        predictions.setdefault(each["set"], []).append(each)
    return json.loads(run.stdout)["sets"], predictions


def main():
    parser = argparse.ArgumentParser()
    for name in ("engine", "model", "text"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(pathlib.Path(arguments.model) / "tokenizer.json"))
    samples = samples_of(pathlib.Path(arguments.text).read_text())
    loss, options, texts = by_transformers(model, tokenizer, *samples)
    with tempfile.TemporaryDirectory() as folder:
        numbers, predictions = by_engine(arguments.engine, arguments.model, pathlib.Path(folder), *samples)

    failures, largest = [], 0.0

    def compare(what, found, expected):
        nonlocal largest
        error = abs(found - expected) / max(abs(expected), 1e-30)
        largest = max(largest, error)
        if not error <= TOLERANCE:
            failures.append(f"{what}: {found}, by transformers {expected}")

    compare("loss", numbers["texts"]["loss"], float(loss))
    compare("perplexity", numbers["texts"]["perplexity"], math.exp(loss))
    for name, score in SCORES.items():
        right = 0
        assert len(predictions[name]) == QUESTIONS
        for i, (question, found) in enumerate(zip(samples[1], predictions[name])):
            expected = [score(*each, text) for each, text in zip(options[i], question["options"])]
            for a, b in zip(found["scores"], expected):
                compare(f"{name} of question {i}", a, b)
            best = max(range(len(expected)), key=expected.__getitem__)
            right += best == question["label"]
            gap = min(abs(expected[best] - other) for j, other in enumerate(expected) if j != best)
            if found["predicted"] != best and gap > TOLERANCE * abs(expected[best]):
                failures.append(f"{name} of question {i}: chose {found['predicted']}, transformers {best}")
        compare(f"accuracy by {name}", 1 + numbers[name]["accuracy"], 1 + right / QUESTIONS)
    for i, (found, expected) in enumerate(zip(predictions["greedy"], texts)):
        if found["text"] != expected:
            failures.append(f"greedy text {i}: {found['text']!r}, by transformers {expected!r}")
    print(f"{DOCUMENTS} documents, {3 * QUESTIONS} questions, {PROMPTS} greedy texts: largest relative difference "
          f"{largest:.1e}, {len(failures)} failures")
    print("\n".join(failures))
    sys.exit(bool(failures))


main()
