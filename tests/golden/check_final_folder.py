"""Checks that a run's final/ is a plain Hugging Face folder. Not part of ctest; needs torch and transformers.

    python check_final_folder.py RUN/final [COLLIE_ENGINE]

Loads config, model and tokenizer (InternLM and InternLM2 as the Llama that they are, ChatGLM2 as the GLM, MOSS as the
CodeGen); no weight may be missing or left over, and encoding must be undone by decoding. Given the collie-engine binary,
greedy continuations must be the same text.
"""

import json
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import load_file
from transformers import (AutoModelForCausalLM, AutoTokenizer, CodeGenConfig, CodeGenForCausalLM, GlmForCausalLM,
                          LlamaForCausalLM, PreTrainedTokenizerFast)

from chatglm_as_glm import glm_config, to_glm
from internlm_as_llama import KINDS, llama_config, to_llama

PROMPTS = ["the dog herds", "Once upon a time", "café, 7 °C"]
NEW_TOKENS = 24


def continuation(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = model.generate(inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0].tolist()
    before, after = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (inputs[0].tolist(), output))
    return after.removeprefix(before)


def load(folder):
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    kind = config["model_type"]
    if kind not in KINDS | {"chatglm": "", "moss": ""}:
        model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[kind], (kind, info[kind])
        return model, AutoTokenizer.from_pretrained(folder)
    tensors = load_file(pathlib.Path(folder) / "model.safetensors")
    if kind == "chatglm":
        model, tensors = GlmForCausalLM(glm_config(config)), to_glm(tensors, config)
    elif kind == "moss":
        model = CodeGenForCausalLM(CodeGenConfig(**config))
    else:
        as_llama = llama_config(kind, config)
        as_llama.bos_token_id, as_llama.eos_token_id = config.get("bos_token_id"), config.get("eos_token_id")
        model, tensors = LlamaForCausalLM(as_llama), to_llama(kind, tensors, config)
    model = model.float().eval()
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if config["tie_word_embeddings"] else set()
    assert set(missing) <= tied and not unexpected, (missing, unexpected)
    # AutoTokenizer asks the model's configuration for a class, and there is none.
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def main():
    folder = sys.argv[1]
    model, tokenizer = load(folder)
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
