"""Makes evaluation/: a tiny model with its tokenizer, and evaluation.json, what its evaluation by transformers gives.

    python make_evaluation_golden.py

The model is a Llama with random weights, and the tokenizer a BPE that merges across the boundary of prompt and option.
 - perplexity: every line is a document, BOS, its tokens, EOS, run by itself; the sum of the losses over the tokens.
 - classification: log-likelihoods of the options as lm-evaluation-harness computes them (TemplateLM._encode_pair: white
   space at the end of the context goes to the continuation, both are tokenised as one text, and the continuation's tokens
   are those behind as many as the context alone has), with BOS in front, as our sets have it where the tokenizer adds BOS.
 - generation: generate(), greedy, with and without a penalty of repetitions.
float32 on the CPU. Made with torch 2.15.0, transformers 5.24.0, tokenizers 0.22.
"""

import json
import pathlib
import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = pathlib.Path(__file__).parent / "evaluation"
SEED = 20
TEXTS = [
    "The dog sleeps in the barn. It dreams of the hill and the herd.",
    "A cat sits on the wall and looks down at the dog, who does not look up.",
    "Sheep, sheep and more sheep: the herd crosses the river at noon.",
    "Is it raining? Yes, it is raining, and the hill is green.",
    "No, the river is not deep. The dog can cross it, can't it?",
    "é è ü: letters of other alphabets, and 12 numbers, 345 and 6.",
]
LABELLED = [  # prompt, options, label
    ("The dog sleeps in the", ["barn", "river", "wall"], 0),
    ("Is it raining? ", ["yes", "no"], "yes"),
    ("The herd crosses", ["the river at noon", "a wall", "hill", "sheep"], 2),
    ("A cat looks at the  ", ["dog", "herd of sheep"], 1),
    ("", ["The hill is green", "No"], "No"),
    ("Question: can the dog cross it?\nAnswer:", ["no, it can't", "é, ü", "Yes"], "é, ü"),
    ("the", ["re", "n", "y are"], 0),
]
PROMPTS = ["The dog", "Is it", "", "A cat sits on the wall and looks", "12 numbers:", "é", "the herd crosses the river"]


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=3)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return tokenizer


def make_model(vocab):
    torch.manual_seed(SEED)
    config = LlamaConfig(vocab_size=vocab, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, max_position_embeddings=64, rope_theta=10000.0, bos_token_id=0,
                         eos_token_id=1, tie_word_embeddings=False, initializer_range=0.4)
    return LlamaForCausalLM(config).to(torch.float32).eval()


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


@torch.no_grad()
def token_losses(model, tokens, first):
    """-log p of tokens[first:], each after all before it."""
    logits = model(torch.tensor([tokens[:-1]])).logits[0].double()
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[1:]), reduction="none")
    return losses[first - 1:]


def perplexity(model, tokenizer):
    total, count = 0.0, 0
    for text in TEXTS:
        losses = token_losses(model, [0, *ids_of(tokenizer, text), 1], 1)
        total, count = total + losses.sum().item(), count + len(losses)
    return {"texts": TEXTS, "loss": total / count, "tokens": count}


def encode_pair(tokenizer, context, continuation):
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole, before = ids_of(tokenizer, context + continuation), ids_of(tokenizer, context)
    return [0, *whole], 1 + len(before)


def classification(model, tokenizer):
    samples, right = [], {"sum": 0, "mean": 0, "bytes": 0}
    crossed = 0
    for prompt, options, label in LABELLED:
        scores = {"sum": [], "mean": [], "bytes": []}
        for option in options:
            tokens, first = encode_pair(tokenizer, prompt, " " + option)
            assert len(tokens) > first, (prompt, option)
            parts = [0, *ids_of(tokenizer, prompt), *ids_of(tokenizer, " " + option)]
            crossed += tokens != parts
            losses = token_losses(model, tokens, first)
            scores["sum"].append(-losses.sum().item())
            scores["mean"].append(-losses.mean().item())
            scores["bytes"].append(-losses.sum().item() / len(option.encode()))
        index = label if isinstance(label, int) else options.index(label)
        for score, values in scores.items():
            right[score] += max(range(len(values)), key=values.__getitem__) == index
        samples.append({"prompt": prompt, "options": options, "label": label, "scores": scores})
    assert crossed > 3, "too few tokens cross the boundary of prompt and option"
    return {"samples": samples, "accuracy": {score: count / len(LABELLED) for score, count in right.items()}}


@torch.no_grad()
def generation(model, tokenizer, new_tokens, penalty):
    texts = []
    for prompt in PROMPTS:
        tokens = [0, *ids_of(tokenizer, prompt)]
        out = model.generate(torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens)), do_sample=False,
                             max_new_tokens=new_tokens, repetition_penalty=penalty, eos_token_id=1, pad_token_id=1)
        whole, before = tokenizer.decode(out[0].tolist()), tokenizer.decode(tokens)
        assert whole.startswith(before)
        texts.append(whole[len(before):])
    return {"prompts": PROMPTS, "max_new_tokens": new_tokens, "repetition_penalty": penalty, "texts": texts}


def main():
    random.seed(SEED)
    FOLDER.mkdir(exist_ok=True)
    tokenizer = make_tokenizer()
    vocab = tokenizer.get_vocab_size()
    model = make_model(vocab + vocab % 2)
    model.save_pretrained(FOLDER)
    (FOLDER / "model.safetensors").chmod(0o644)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    (FOLDER / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}) + "\n")
    golden = {
        "perplexity": perplexity(model, tokenizer),
        "classification": classification(model, tokenizer),
        "generation": [generation(model, tokenizer, 12, 1.0), generation(model, tokenizer, 20, 1.5)],
    }
    (FOLDER / "evaluation.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
