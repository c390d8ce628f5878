"""Checks that a run's virtual tokens are those of Hugging Face's peft, and that the engine uses peft's. Not part of ctest;
needs torch, transformers and peft.

    python check_prompt_folder.py BASE ADAPTER COLLIE_ENGINE

Loads ADAPTER over BASE. Greedy continuations must be those of `generate --model BASE --adapter ADAPTER`. Then virtual
tokens of each kind that peft made at random are used by the engine.
"""

import subprocess
import sys
import tempfile

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import AutoTokenizer

from check_adapter_folder import compare, load

RANDOM = {
    "prompt tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=7),
    "P-tuning": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=32),
    "P-tuning, LSTM": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=32,
                                          encoder_reparameterization_type="LSTM"),
    "prefix tuning": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "projected prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=True),
}


def main():
    base, adapter, engine = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(load(base), adapter).eval()
    compare("trained here", model, tokenizer, [engine, "generate", "--model", base, "--adapter", adapter])
    for number, (name, config) in enumerate(RANDOM.items()):
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(number)
            random = get_peft_model(load(base), config).eval()
            random.save_pretrained(folder)
            compare(f"{name}, made by peft", random, tokenizer,
                    [engine, "generate", "--model", base, "--adapter", folder])
    print("ok")


if __name__ == "__main__":
    main()
