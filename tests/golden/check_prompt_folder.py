"""Checks that a run's virtual tokens are those of Hugging Face's peft, and that the engine uses peft's. Not part of ctest;
needs torch, transformers and peft.

    python check_prompt_folder.py BASE ADAPTER COLLIE_ENGINE

Loads ADAPTER over BASE. Greedy continuations must be those of `generate --model BASE --adapter ADAPTER`. Then virtual
tokens of each kind that peft made at random are used by the engine.

A continuation is made by the model's forward, token by token: with its cache, generate() of peft 0.21.2 and transformers
5.24.0 gives other tokens than the same model's forward, and of a prefix without it, too.
"""

import sys
import tempfile

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import AutoTokenizer

from check_adapter_folder import NEW_TOKENS, compare, load

RANDOM = {
    "prompt tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=7),
    "P-tuning": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=32),
    "P-tuning, LSTM": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=32,
                                          encoder_reparameterization_type="LSTM"),
    "prefix tuning": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "projected prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=True),
}


def continuation(model, tokenizer, prompt):
    before = after = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            token = model(input_ids=after).logits[0, -1].argmax()
            if token.item() == tokenizer.eos_token_id:
                break
            after = torch.cat([after, token.view(1, 1)], dim=1)
    texts = [tokenizer.decode(ids[0].tolist(), skip_special_tokens=True) for ids in (before, after)]
    return texts[1].removeprefix(texts[0])


def main():
    base, adapter, engine = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(load(base), adapter).eval()
    compare("trained here", model, tokenizer, [engine, "generate", "--model", base, "--adapter", adapter], continuation)
    for number, (name, config) in enumerate(RANDOM.items()):
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(number)
            random = get_peft_model(load(base), config).eval()
            random.save_pretrained(folder)
            compare(f"{name}, made by peft", random, tokenizer,
                    [engine, "generate", "--model", base, "--adapter", folder], continuation)
    print("ok")


if __name__ == "__main__":
    main()
