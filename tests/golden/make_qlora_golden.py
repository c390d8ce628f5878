"""Makes the goldens of tests/peft/test_quantised_golden.cpp from peft, transformers and bitsandbytes (float32, CPU), over
the checkpoints that make_model_golden.py made.

    TORCHDYNAMO_DISABLE=1 python make_qlora_golden.py [CASE...]

Writes beside itself, for each case (all, or those named):
    qlora/CASE/adapter_config.json, adapter_model.safetensors   a random adapter
    qlora/CASE/gradients.safetensors                            d(loss)/d(parameter) of the base's `batch`
    qlora/CASE/golden.json                                      base, quantisation, loss of the base's golden.json's `batch`,
                                                                losses of its 20 steps, and the SHA-256 of the numbers that
                                                                each matrix' codes stand for (+ 0: zeros without a sign)
    qlora/CASE/quantised/                                       the quantised base, as save_pretrained writes it
bitsandbytes multiplies int8 matrices by activations that it quantises, too. The engine does not: of int8 the model
computes with what its dequantisation gives. Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2, bitsandbytes 0.50.2.
"""

import argparse
import hashlib
import json

import bitsandbytes
import torch
from bitsandbytes import functional
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from adapter_steps import HERE, token_losses, train
from make_peft_golden import saved_names

NF4 = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
FP4 = dict(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.float32)
CASES = {
    "nf4_llama": ("llama_tied", NF4),
    "nf4_gpt2": ("gpt2", NF4),
    "fp4_llama": ("llama_untied", {**FP4, "llm_int8_skip_modules": ["lm_head", "down_proj"]}),
    "int8_llama": ("llama_tied", dict(load_in_8bit=True)),
    # biases, which stay as they are, and a list of what to leave out with a whole module and what the model lacks
    "int8_qwen2": ("qwen2", dict(load_in_8bit=True,
                                 llm_int8_skip_modules=["lm_head", "model.layers.1.mlp", "vision_tower"])),
}


def numbers_of(model):
    """By name, what the codes of each quantised matrix [out, in] stand for."""
    numbers = {}
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            numbers[name + ".weight"] = functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            numbers[name + ".weight"] = functional.int8_vectorwise_dequant(module.weight.data, module.weight.SCB)
    return numbers


def left_out(model, patterns):
    """The patterns that end the name of a matrix; for one that is a module of matrices, these."""
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    found = []
    for pattern in patterns:
        ends = any(name.endswith(pattern) for name in names)
        found += [pattern] if ends else [name for name in names if name.startswith(pattern + ".")]
    return found


def without_int8(model, numbers):
    """The model with plain matrices of those numbers."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, bitsandbytes.nn.Linear8bitLt):
            continue
        plain = torch.nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
        plain.weight = torch.nn.Parameter(numbers[name + ".weight"].clone(), requires_grad=False)
        if module.bias is not None:
            plain.bias = torch.nn.Parameter(module.bias.data.float(), requires_grad=False)
        model.set_submodule(name, plain)
    return model


def make(case, base, settings, seed):
    torch.manual_seed(seed)
    folder = HERE / "qlora" / case
    model = AutoModelForCausalLM.from_pretrained(
        HERE / base, dtype=torch.float32, attn_implementation="eager", device_map="cpu",
        quantization_config=BitsAndBytesConfig(**settings))
    model.save_pretrained(folder / "quantised")
    (folder / "quantised" / "generation_config.json").unlink(missing_ok=True)
    numbers = numbers_of(model)
    skip = left_out(model, settings.get("llm_int8_skip_modules", ["lm_head"]))
    if "load_in_8bit" in settings:
        model = without_int8(model, numbers)
        model.is_quantized = False
        del model.config.quantization_config
        model.is_loaded_in_8bit = False
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4, lora_alpha=6,
                                             target_modules="all-linear")).eval()
    with torch.no_grad():  # of a size at which it matters
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.copy_(0.3 * torch.randn(value.shape) * value.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base  # no path of the machine that made it
    config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")

    golden = json.loads((HERE / base / "golden.json").read_text())
    names = saved_names(model)
    total, targets = token_losses(model, golden["batch"])
    (total / targets).backward()
    save_file({names[name]: value.grad.contiguous() for name, value in model.named_parameters() if value.requires_grad},
              folder / "gradients.safetensors")
    model.zero_grad()
    losses = train(model, golden, [value for value in model.parameters() if value.requires_grad])
    result = {"base": base, "kind": settings.get("bnb_4bit_quant_type", "int8"),
              "double_quant": settings.get("bnb_4bit_use_double_quant", False),
              "skip": skip,
              "numbers": {name: hashlib.sha256((value.numpy() + 0).tobytes()).hexdigest() for name, value in numbers.items()},
              "loss": total.item() / targets, "losses": losses}
    (folder / "golden.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(case, "loss", result["loss"], "losses", losses[0], "->", losses[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number, (name, (checkpoint, options)) in enumerate(CASES.items(), start=100):
        if not arguments.cases or name in arguments.cases:
            make(name, checkpoint, options, number)
