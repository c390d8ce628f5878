"""Checks that a run's final/ is a plain Hugging Face folder. Not part of ctest; needs torch and transformers.

    python check_final_folder.py RUN/final [COLLIE_ENGINE]

Loads config, model and tokenizer; no weight may be missing or left over, and encoding must be undone by decoding. Given
the collie-engine binary, greedy continuations must be the same text.
"""

import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ["the dog herds", "Once upon a time", "café, 7 °C"]
NEW_TOKENS = 24


def continuation(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = model.generate(inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0].tolist()
    before, after = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (inputs[0].tolist(), output))
    return after.removeprefix(before)


def main():
    folder = sys.argv[1]
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], (kind, info[kind])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"{type(model).__name__}, {model.num_parameters()} parameters; {type(tokenizer).__name__}, {len(tokenizer)} tokens")
    print(f"bos {tokenizer.bos_token!r} {tokenizer.bos_token_id}, eos {tokenizer.eos_token!r} {tokenizer.eos_token_id}, "
          f"model's {model.config.bos_token_id} and {model.config.eos_token_id}")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (model.config.bos_token_id, model.config.eos_token_id)
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == prompt, (prompt, ids)
        if len(sys.argv) < 3:
            continue
        text = continuation(model, tokenizer, prompt)
        command = [sys.argv[2], "generate", "--model", folder, "--prompt", prompt, "--max-new-tokens", str(NEW_TOKENS)]
        found = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
        print(f"{prompt!r} -> {found!r}")
        assert found == text + "\n", f"transformers: {text!r}"
    print("ok")


if __name__ == "__main__":
    main()
