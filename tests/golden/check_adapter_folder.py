"""Checks that a run's adapter is one of Hugging Face's peft, and that the engine uses peft's. Not part of ctest; needs
torch, transformers and peft.

    python check_adapter_folder.py BASE ADAPTER COLLIE_ENGINE

Loads ADAPTER over BASE; every tensor of the file must have its place. Greedy continuations must be those of
`generate --model BASE --adapter ADAPTER` and of the merged model that `export` writes. Then an adapter that peft made,
with random matrices, is used by the engine, alone and together with ADAPTER.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ["the dog herds", "Once upon a time"]
NEW_TOKENS = 24


def load(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def continuation(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = model.generate(input_ids=inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0].tolist()
    before, after = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (inputs[0].tolist(), output))
    return after.removeprefix(before)


def compare(what, model, tokenizer, command, continued=continuation):
    for prompt in PROMPTS:
        expected = continued(model, tokenizer, prompt)
        run = subprocess.run([*command, "--prompt", prompt, "--max-new-tokens", str(NEW_TOKENS)], check=True,
                             capture_output=True)
        found = run.stdout.decode("utf-8", "replace")
        assert found == expected + "\n", (what, prompt, found, expected)
    print(f"{what}: {found!r}")


def main():
    base, adapter, engine = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(load(base), adapter).eval()
    known = {name.replace(".default", "").replace(".modules_to_save", "").replace("vector.weight", "vector")
             for name in model.state_dict()}
    for name in load_file(pathlib.Path(adapter) / "adapter_model.safetensors"):
        assert name in known, f"peft has no place for {name}"
    # B of AdaLoRA begins at random, and E as zeros. A matrix may have lost all of its rank.
    has_values = any("lora_E" in name for name in model.state_dict())
    changed = any(((value - float("ia3_l" in name)) != 0).any() for name, value in model.state_dict().items()
                  if ("lora_E" if has_values else "lora_B") in name or "ia3_l" in name)
    assert changed, "the adapter does nothing"
    compare("trained here", model, tokenizer, [engine, "generate", "--model", base, "--adapter", adapter])
    with tempfile.TemporaryDirectory() as folder:
        merged = f"{folder}/merged"
        subprocess.run([engine, "export", "--model", base, "--adapter", adapter, "--merge", "--out", merged], check=True)
        compare("merged here", model, tokenizer, [engine, "generate", "--model", merged])
        compare("merged here, transformers", AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32), tokenizer,
                [engine, "generate", "--model", base, "--adapter", adapter])

        torch.manual_seed(3)
        config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, use_rslora=True,
                            init_lora_weights=False, rank_pattern={".*1.*": 2})
        random = get_peft_model(load(base), config).eval()
        random.save_pretrained(f"{folder}/random")
        compare("made by peft", random, tokenizer, [engine, "generate", "--model", base, "--adapter", f"{folder}/random"])

        # Several: what peft's weighted "cat" combination gives, which takes plain adapters.
        settings = json.loads((pathlib.Path(adapter) / "adapter_config.json").read_text())
        is_plain = settings["peft_type"] == "LORA" and not settings["use_dora"] and settings["bias"] == "none"
        if is_plain and not settings["modules_to_save"]:
            both = PeftModel.from_pretrained(load(base), adapter, adapter_name="first")
            both.load_adapter(f"{folder}/random", adapter_name="second")
            both.base_model.set_adapter(["first", "second"])
            for module in both.modules():
                if hasattr(module, "scaling") and isinstance(module.scaling, dict):
                    for name, factor in (("first", 0.5), ("second", -0.25)):
                        if name in module.scaling:
                            module.scaling[name] *= factor
            compare("both", both.eval(), tokenizer,
                    [engine, "generate", "--model", base, "--adapter", f"one={adapter}@0.5",
                     "--adapter", f"two={folder}/random@-0.25"])
    print("ok")


if __name__ == "__main__":
    main()
